"""What made the rows of a load, written in the transaction of the rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from memo_assets.store.layout import Layout
from memo_assets.store.load import load_block, load_samples
from memo_assets.store.provenance import Provenance, read_provenance, record_provenance
from memo_assets.store.tables import publish, reading

from .small_study import write_study

FIRST = Provenance("shadow_logits", "run-1", "code-1", "data-1", {"samples": "s-1", "logits": "l-1"})
SECOND = replace(FIRST, run_id="run-2", input_versions={"samples": "s-2"})
TABLES = ("logits", "logit_moments", "split_masks", "checkpoints")


@pytest.fixture
def layout(warehouse: Path) -> Layout:
    layout = Layout(warehouse, "s")
    write_study(layout)
    return layout


def load(layout: Layout, made: Provenance, seeds: list[int]) -> None:
    block = f"{seeds[0]:03d}-{seeds[-1]:03d}"
    with publish() as connection:
        rows = load_block(connection, layout, seeds)
        record_provenance(connection, layout.study, made, rows, block=block, split_seeds=seeds)


def found(*tables: str) -> dict[tuple[str, str | None], Provenance]:
    with reading() as connection:
        return read_provenance(connection, "s", tables)


def test_every_table_of_a_load_has_one_row(layout: Layout) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    load(layout, FIRST, [0, 1])
    with reading() as connection:
        rows = connection.execute("FROM provenance SELECT * EXCLUDE loaded_at ORDER BY table_name").fetchall()
        (loaded,) = connection.execute("SELECT DISTINCT loaded_at FROM provenance").fetchall()
    same = (
        "000-001",
        [0, 1],
        "shadow_logits",
        "run-1",
        "code-1",
        "data-1",
        {"logits": "l-1", "samples": "s-1"},
    )
    assert rows == [
        ("s", "checkpoints", *same, 4),
        ("s", "logit_moments", *same, 8),
        ("s", "logits", *same, 16),
        ("s", "split_masks", *same, 4),
    ]
    assert before <= loaded[0] <= before + timedelta(minutes=5)
    assert found(*TABLES) == dict.fromkeys([(table, "000-001") for table in TABLES], FIRST)


def test_a_load_done_again_takes_the_place_of_the_first(layout: Layout) -> None:
    load(layout, FIRST, [0])
    load(layout, FIRST, [1])
    load(layout, SECOND, [1])
    assert found("logits") == {("logits", "000-000"): FIRST, ("logits", "001-001"): SECOND}
    for made in (FIRST, SECOND):
        with publish() as connection:
            rows = {"samples": load_samples(connection, layout)}
            record_provenance(connection, "s", replace(made, asset="samples"), rows)
            record_provenance(connection, "t", made, {"samples": 0})
        assert found("samples") == {("samples", None): replace(made, asset="samples")}
    with reading() as connection:
        counts = connection.execute("SELECT study, count(*) FROM provenance GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == [("s", 9), ("t", 1)]


def test_blocks_cut_anew_leave_none_of_the_old_ones_that_they_share_seeds_with(layout: Layout) -> None:
    load(layout, FIRST, [0, 1])
    load(layout, SECOND, [1])
    assert found(*TABLES) == dict.fromkeys([(table, "001-001") for table in TABLES], SECOND)


def test_a_load_that_fails_leaves_rows_and_provenance_as_they_were(layout: Layout) -> None:
    load(layout, FIRST, [0])

    def fail() -> None:
        with publish() as connection:
            rows = load_block(connection, layout, [0, 1])
            record_provenance(connection, "s", SECOND, rows, block="000-001", split_seeds=[0, 1])
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert found("logits") == {("logits", "000-000"): FIRST}
    with reading() as connection:
        assert connection.execute("SELECT count(*) FROM logits").fetchone() == (8,)


def test_an_asset_without_inputs_has_none(layout: Layout) -> None:
    with publish() as connection:
        record_provenance(connection, "s", replace(FIRST, input_versions={}), {"samples": 4})
    assert found("samples")["samples", None].input_versions == {}


def test_a_warehouse_of_an_earlier_version_says_nothing() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE samples (study VARCHAR, sample_id BIGINT)")
        assert read_provenance(connection, "s", ("samples",)) == {}
