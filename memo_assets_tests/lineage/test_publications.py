"""What a study publishes when it is brought up to date: its copies of the warehouse are made ahead."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from memo_assets.config import Study
from memo_assets.instance import open_instance
from memo_assets.store.layout import DATABASE_NAME
from memo_assets.store.tables import reading
from memo_assets.study import load_study
from memo_assets_tests.lineage.cheap import Words, attributes, materialize, run
from memo_assets_tests.studies import write_study


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files for whose copies somebody has waited."""
    names: list[str] = []
    copyfile = shutil.copyfile

    def noted(source: Path, target: Path) -> None:
        names.append(source.name)
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", noted)
    return names


def test_a_study_from_nothing_waits_for_no_copy(tmp_path: Path, warehouse: Path, copied: list[str]) -> None:
    write_study(tmp_path, attributes(tmp_path))
    with open_instance() as instance:
        run(load_study(tmp_path), Words(), instance)
    with reading() as connection:
        counted = connection.execute("SELECT count(DISTINCT asset) FROM provenance").fetchone()
    assert counted is not None
    assert counted[0] > 3  # each published by itself, the first where nothing was
    assert copied == []
    assert not list(warehouse.glob(".*.tmp*"))


def test_runs_by_themselves_copy_nothing_ahead(
    study: Study, instance: dg.DagsterInstance, folder: Path, copied: list[str]
) -> None:
    for _ in range(2):
        assert materialize(study, Words(), instance, "shadow_logits", partitions=("000-001", "000-001"))
        assert not list((folder / "warehouse").glob(".*.tmp*"))
    assert copied == [DATABASE_NAME] * 2
