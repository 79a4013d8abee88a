"""Measures over swept values, from a warehouse that lacks some of the variants."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from memo_assets.analysis.comparison import Comparison
from memo_assets.analysis.comparison_sweeps import over_swept_values
from memo_assets.study_file import read_variants
from memo_assets.study_sweep import swept_studies
from memo_assets_tests.studies import DIGITS, write_study


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            """
            CREATE TABLE predictor_evaluation (study TEXT, target_seed INTEGER, predictor TEXT, layer INTEGER,
                epoch DOUBLE, fpr_at_tpr DOUBLE, is_prediction_epoch BOOLEAN, is_last_layer BOOLEAN);
            CREATE TABLE samples (study TEXT, sample_id INTEGER, part TEXT);
            CREATE TABLE logits (study TEXT, split_seed INTEGER, epoch DOUBLE, sample_id INTEGER, logit_gap DOUBLE);
            """
        )
        yield connection


def evaluated(connection: duckdb.DuckDBPyConnection, *studies: str) -> None:
    """Rows of studies; the FPR of the first one is 0.1, of the second 0.2, and so on, and of loss twice that."""
    for place, study in enumerate(studies, start=1):
        connection.execute(
            """
            INSERT INTO predictor_evaluation VALUES
                ($study, 0, 'psmi', 1, 1, 0.9, true, false), ($study, 0, 'psmi', 2, 1, $fpr, true, true),
                ($study, 0, 'psmi', 2, 2, 0.8, false, true), ($study, 0, 'loss', 0, 1, 2 * $fpr, true, true)
            """,
            {"study": study, "fpr": 0.1 * place},
        )
        connection.execute(
            "INSERT INTO samples VALUES ($study, 0, 'test'), ($study, 1, 'test'), ($study, 2, 'pool')",
            {"study": study},
        )
        # right at first, then one of two; another model than the audited one is wrong throughout
        gaps = [(0, 1, (1, 1, 1)), (0, 2, (1, -1, 1)), (1, 2, (-1, -1, -1))]
        for seed, epoch, values in gaps:
            for sample, gap in enumerate(values):
                connection.execute(
                    "INSERT INTO logits VALUES (?, ?, ?, ?, ?)", [study, seed, epoch, sample, gap]
                )


def points(connection: duckdb.DuckDBPyConnection, folder: Path, **sweep: Any) -> pd.DataFrame:
    studies = read_variants(write_study(folder, {**DIGITS, "sweep": sweep}))
    return over_swept_values(Comparison.of(connection, studies), swept_studies(studies))


def test_a_row_a_variant_and_one_of_the_study_itself(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path):
    evaluated(warehouse, "tiny", "tiny_width16", "tiny_width64", "other")
    table = points(warehouse, tmp_path, over={"model.width": [16, 32, 64]})
    assert list(table["name"]) == ["tiny", "tiny_width16", "tiny_width64"]
    assert list(table["value"]) == [8, 16, 64]
    assert list(table["itself"]) == [True, False, False]
    assert set(table["study"]) == {"Tiny digits"}
    assert set(table["field"]) == {"model.width"}
    assert len(set(table["line"])) == 1
    assert list(table["psmi"]) == pytest.approx([0.1, 0.2, 0.3])
    assert list(table["loss"]) == pytest.approx([0.2, 0.4, 0.6])
    assert table["logit_gap"].isna().all()
    assert set(table["epoch"]) == {1}
    assert set(table["test_accuracy"]) == {0.5}


def test_values_stay_what_they_are(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path):
    evaluated(warehouse, "tiny", "tiny_width16_eta2p5")
    table = points(warehouse, tmp_path, over={"model.width": [16], "labels.eta": [2.5]})
    assert [(value, type(value)) for value in table["value"]] == [
        (8, int),
        (16, int),
        (None, type(None)),
        (2.5, float),
    ]


def test_lines_join_what_is_alike_in_the_other_fields(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path):
    names = [f"tiny_width{width}_share{share}" for width in (8, 16) for share in ("0p1", "0p2")]
    evaluated(warehouse, "tiny", *names)
    over = {"model.width": [8, 16], "noise.share": [0.1, 0.2]}
    table = points(warehouse, tmp_path, over=over).set_index(["field", "name"])["line"]
    width, share = table["model.width"], table["noise.share"]
    assert width[names[0]] == width[names[2]] != width[names[1]] == width[names[3]]
    assert share[names[0]] == share[names[1]] != share[names[2]] == share[names[3]]
    assert width["tiny"] not in {width[name] for name in names}  # no variant has its share
    assert share["tiny"] == share[names[0]]


def test_values_that_go_together_lie_on_one_line(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path):
    evaluated(warehouse, "tiny", "tiny_width16_share0p1", "tiny_width32_share0p2")
    over = {"model.width": [16, 32], "noise.share": [0.1, 0.2]}
    table = points(warehouse, tmp_path, mode="zip", over=over)
    for _, rows in table.groupby("field"):
        own, *others = rows["line"]
        assert len(set(others)) == 1
        assert own not in others


def test_without_a_variant_there_are_no_rows(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path):
    evaluated(warehouse, "tiny")
    assert points(warehouse, tmp_path, over={"model.width": [16, 32]}).empty
    evaluated(warehouse, "tiny_width32")
    assert len(points(warehouse, tmp_path, over={"model.width": [16, 32]})) == 2
