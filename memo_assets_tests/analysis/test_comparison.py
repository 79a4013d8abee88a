"""Studies beside one another, from a warehouse that holds two of three."""

from collections.abc import Iterator

import duckdb
import pandas as pd
import pytest

from memo_assets.analysis.comparison import (
    Comparison,
    best_layers,
    default_rules,
    mean_fprs,
    predictors_over_studies,
)
from memo_assets.analysis.frames import SHOWN
from memo_assets.analysis.published import PUBLISHED, PUBLISHED_MEAN_FPR
from memo_assets_tests.studies import CITIES, DIGITS, TABLE, study

STUDIES = [study(DIGITS), study(CITIES, {"name": "arc_mistral"}), study(TABLE)]
NAN = float("nan")
# study, target, predictor, layer, epoch, FPR at TPR .75, FPR and TPR of the rule, prediction epoch, last layer
ROWS = [
    ("tiny", 0, "psmi", 1, 1.0, 0.9, 0.9, 0.9, True, False),
    ("tiny", 0, "psmi", 2, 1.0, 0.1, 0.2, 0.8, True, True),
    ("tiny", 0, "psmi", 2, 2.0, 0.5, 0.5, 0.5, False, True),
    ("tiny", 0, "loss", 0, 1.0, 0.3, NAN, NAN, True, True),
    ("tiny", 1, "psmi", 2, 1.0, 0.7, 0.7, 0.7, True, True),
    ("arc_mistral", 0, "psmi", 2, 1.0, 0.8, 0.8, 0.8, False, True),
    ("arc_mistral", 0, "psmi", 2, 2.0, 0.4, 0.3, 0.6, False, True),  # never a prediction epoch: the last one
    ("own", 1, "psmi", 2, 2.0, 0.4, 0.3, 0.6, False, True),  # another model than the audited one
]
COLUMNS = (
    "study target_seed predictor layer epoch fpr_at_tpr rule_fpr rule_tpr is_prediction_epoch is_last_layer"
)


@pytest.fixture
def comparison() -> Iterator[Comparison]:
    with duckdb.connect() as connection:
        connection.register("given", pd.DataFrame(ROWS, columns=COLUMNS.split()))
        connection.execute("CREATE TABLE predictor_evaluation AS SELECT * FROM given")
        yield Comparison.of(connection, STUDIES)


def test_a_study_that_is_not_there_is_missing_and_no_error(comparison: Comparison):
    assert [study.name for study in comparison.there] == ["tiny", "arc_mistral"]
    assert [study.name for study in comparison.missing] == ["own"]


def test_predictors_are_those_of_the_last_layer_at_the_prediction_epoch(comparison: Comparison):
    points = predictors_over_studies(comparison)
    assert len(points) == 2 * len(SHOWN)
    known = points.dropna()
    assert list(known["fpr"]) == [0.1, 0.3, 0.4]
    assert list(known["predictor"]) == ["psmi", "loss", "psmi"]


def test_published_figures_stand_beside_the_paper_s_studies_only(comparison: Comparison):
    tiny, arc = default_rules(comparison).to_dict("records")
    assert (tiny["epoch"], tiny["fpr"], tiny["tpr"]) == (1, 0.2, 0.8)
    assert pd.isna(tiny["published_fpr"])
    assert (arc["epoch"], arc["fpr"], arc["tpr"]) == (2, 0.3, 0.6)
    assert (arc["published_epoch"], arc["published_fpr"], arc["published_tpr"]) == (0.4, 0.139, 0.860)


def test_the_best_layer_is_that_of_the_lowest_fpr_whichever_it_is(comparison: Comparison):
    comparison.connection.execute("UPDATE predictor_evaluation SET fpr_at_tpr = 0.05 WHERE layer = 1")
    tiny, arc = best_layers(comparison).to_dict("records")
    assert (tiny["layers"], tiny["best_layer"], tiny["fpr"]) == (2, 1, 0.05)
    assert pd.isna(tiny["published_best_layer"])
    assert (arc["layers"], arc["best_layer"], arc["published_best_layer"]) == (1, 2, 29)


def test_the_mean_counts_every_study_once_and_needs_a_value_of_each(comparison: Comparison):
    means = mean_fprs(predictors_over_studies(comparison)).set_index("predictor")
    assert dict(means["mean"].dropna()) == {"psmi": pytest.approx(0.25)}
    assert dict(means["published"].dropna()) == PUBLISHED_MEAN_FPR
    one = predictors_over_studies(comparison).head(len(SHOWN))
    assert mean_fprs(one)["mean"].isna().all()


def test_means_of_the_published_rules_are_the_published_means():
    rates = [(known.rule_fpr, known.rule_tpr) for known in PUBLISHED.values()]
    assert [round(sum(column) / len(rates), 3) for column in zip(*rates, strict=True)] == [0.153, 0.887]


def test_an_empty_warehouse_gives_empty_tables(comparison: Comparison):
    comparison.connection.execute("DELETE FROM predictor_evaluation")
    empty = Comparison.of(comparison.connection, STUDIES)
    assert len(empty.missing) == 3
    assert predictors_over_studies(empty).empty
    assert mean_fprs(predictors_over_studies(empty)).empty
    assert default_rules(empty).empty
    assert best_layers(empty).empty
