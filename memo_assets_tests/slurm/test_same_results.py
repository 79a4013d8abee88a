"""A study computed on Slurm leaves the same warehouse, bit for bit, as on this machine."""

from contextlib import closing
from pathlib import Path

import pytest

from memo_assets.compute.choice import make_executor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import study_state
from memo_assets.store.schema import TABLES
from memo_assets.store.tables import reading
from memo_assets.study import load_study
from memo_assets_tests.end_to_end.conftest import Recorder, changed
from memo_assets_tests.slurm.conftest import Lab

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def cities() -> Study:
    """A language study with its own base model, cut to a minute."""
    return changed(
        load_study("cities"),
        model={"epochs": 1},
        training={"epochs": 1, "checkpoints": [0, 0.2, 1]},
        shadows={"models": 6, "block": 3},  # with fewer, nothing can be said of label stability
        scores={"psmi_directions": 50, "smi_directions": 2},
        compute={"pack": 2, "slurm": {"gres": "gpu:1", "memory": "3G"}},
    )


def digits() -> Study:
    """A vision study with more seeds, in several tasks."""
    return changed(
        load_study("digits"),
        data={"items": 303},
        training={"epochs": 4, "checkpoints": [0, 1, 4], "batch_size": 10},
        shadows={"models": 10, "block": 5},
        scores={"psmi_directions": 50, "smi_directions": 2},
        compute={"pack": 4, "slurm": {"gres": "gpu:1", "memory": "3G"}},
    )


def warehouse_of(study: Study, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """All rows of all tables, but for run ids and times, after computing a study in a warehouse of its own."""
    monkeypatch.setenv("MEMO_WAREHOUSE", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
    monkeypatch.setenv("MEMO_EXECUTOR", kind)
    recorder = Recorder()
    with open_instance() as instance, closing(make_executor(kind)) as executor:
        definitions = build_defs([study], {"observer": recorder, "executor": executor})
        bring_up_to_date(study, definitions, instance, recorder)
        assert bring_up_to_date(study, definitions, instance, recorder) == 0
        assert all(not state.todo for state in study_state(study, definitions, instance))
    with reading() as connection:
        return {
            name: connection.execute(
                f"SELECT {table.lasting} FROM {name} ORDER BY {', '.join(table.key)}"
            ).fetchall()
            for name, table in TABLES.items()
        }


@pytest.mark.parametrize("make", [digits, cities])
def test_tables_are_the_same_bit_for_bit(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, make, tmp_path: Path
) -> None:
    study = make()
    here = warehouse_of(study, "local", tmp_path / "local", monkeypatch)
    there = warehouse_of(study, "slurm", lab.warehouse, monkeypatch)
    assert here.keys() == there.keys()
    for table, rows in here.items():
        # Of studies with choices, and with protected variants, alone.
        assert bool(rows) == (table == "provenance" or TABLES[table].asset in steps(study)), table
        assert repr(rows) == repr(there[table]), table  # repr: nan equals nan, and every digit counts
