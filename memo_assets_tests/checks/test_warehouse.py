"""Rows in the warehouse, counted against the files."""

from pathlib import Path

import pytest

from memo_assets.checks.verdict import Verdict
from memo_assets.checks.warehouse import rows_of_seeds, rows_of_tables
from memo_assets.store.layout import Layout
from memo_assets.store.load import load_block, load_samples
from memo_assets.store.tables import publish, reading
from memo_assets_tests.store.small_study import write_logits, write_study


@pytest.fixture
def layout(warehouse: Path) -> Layout:
    """A study of 4 samples and 2 models, in files and in the warehouse."""
    made = Layout(warehouse, "small")
    write_study(made)
    with publish() as connection:
        load_samples(connection, made)
        load_block(connection, made, [0, 1])
    return made


def of_seeds(layout: Layout, seeds: list[int]) -> Verdict:
    with reading() as connection:
        return rows_of_seeds(connection, layout, seeds)


def of_samples(layout: Layout) -> Verdict:
    with reading() as connection:
        return rows_of_tables(connection, layout, ["samples"])


def test_loaded_rows_pass(layout: Layout) -> None:
    found = of_seeds(layout, [0, 1])
    assert found.passed
    assert found.sentence == (
        "as many rows of 2 models in the warehouse as in the files: logits 16, split_masks 4, checkpoints 4"
    )
    assert found.facts == {"logits_rows": 16, "split_masks_rows": 4, "checkpoints_rows": 4}
    assert of_samples(layout).sentence == "as many rows in the warehouse as in the files: samples 4"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("logits", "logits of seed 1 (0 rows of seed 1, its file has 8)"),
        ("split_masks", "split_masks of seed 1 (0 rows of seed 1, its file has 2)"),
        ("checkpoints", "checkpoints of seed 1 (0 rows of seed 1, its file has 2)"),
    ],
)
def test_rows_that_are_gone_are_told(layout: Layout, table: str, told: str) -> None:
    with publish() as connection:
        connection.execute(f"DELETE FROM {table} WHERE split_seed = 1")
    found = of_seeds(layout, [0, 1])
    assert not found.passed
    assert told in found.sentence
    assert found.seeds == (1,)
    assert of_seeds(layout, [0]).passed


def test_a_file_that_changed_after_the_load_is_told(layout: Layout) -> None:
    write_logits(layout, 0, leave_out=(0.0, 1))
    assert "logits of seed 0 (8 rows of seed 0, its file has 7)" in of_seeds(layout, [0, 1]).sentence
    with publish() as connection:
        connection.execute("DELETE FROM samples WHERE sample_id = 3")
    found = of_samples(layout)
    assert not found.passed
    assert found.sentence.startswith(
        "rows in the warehouse that are not those of the files: samples has 3, its file 4."
    )


def test_without_recorded_models_nothing_is_judged(layout: Layout) -> None:
    assert of_seeds(layout, []).sentence == "not judged: no block of split seeds has been recorded"
