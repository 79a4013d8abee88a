"""The figure of canaries: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.canaries import canary_roc
from memo_assets.figures.roc import MAX_POINTS
from memo_assets_tests.figures.helpers import layout_of, notes, traces

PREDICTED = pd.DataFrame(
    [
        (*predictor, *point, auc)
        for predictor, auc, middle in (
            (("loss", None), 0.625, (0.5, 0.75)),
            (("psmi", 2), 0.875, (0.25, 1.0)),
        )
        for point in ((0.0, 0.0), middle, (1.0, 1.0))
    ],
    columns=["predictor", "layer", "fpr", "tpr", "auc"],
)
NONE = PREDICTED.head(0)
MEMBERSHIP = pd.DataFrame(
    [
        ("other samples", 0.0, 0.0, 0.6),
        ("other samples", 0.002, 0.01, 0.6),
        ("other samples", 0.02, 0.05, 0.6),
        ("other samples", 1.0, 1.0, 0.6),
        ("canaries", 0.0, 0.4, 0.99),
        ("canaries", 0.01, 0.8, 0.99),
        ("canaries", 1.0, 1.0, 0.99),
    ],
    columns=["group", "fpr", "tpr", "auc"],
)


def test_canaries_and_membership_side_by_side():
    figure = canary_roc(PREDICTED, MEMBERSHIP, title="T")
    left = [line for line in traces(figure) if line.xaxis == "x"]
    assert [line.name for line in left] == ["Chance", "PSMI, layer 2", "Loss"]
    chance, canaries, others = (line for line in traces(figure) if line.xaxis == "x2")
    assert list(chance.x) == list(chance.y) == [0.002, 1]
    np.testing.assert_array_equal(canaries.x, [0.01, 1])
    np.testing.assert_array_equal(others.y, [0.01, 0.05, 1])
    assert layout_of(figure).xaxis2.type == layout_of(figure).yaxis2.type == "log"
    assert "canaries · 0.990 · 0.800" in notes(figure)
    assert "other samples · 0.600 · 0.010" in notes(figure)


def test_without_predictors_only_membership_is_drawn():
    figure = canary_roc(NONE, MEMBERSHIP, title="")
    assert {line.xaxis for line in traces(figure)} == {"x"}
    assert "Canaries told from" not in notes(figure)
    assert layout_of(figure).xaxis.type == "log"


def test_a_long_curve_on_log_axes_keeps_its_left_end():
    rates = np.linspace(0, 1, 50_001)
    long = pd.DataFrame({"group": "canaries", "fpr": rates, "tpr": np.sqrt(rates), "auc": 2 / 3})
    chance, drawn = traces(canary_roc(NONE, long, title=""))
    assert len(drawn.x) <= MAX_POINTS
    np.testing.assert_array_equal(drawn.x[:3], rates[1:4])
    assert drawn.x[-1] == 1
    assert chance.x[0] == 1e-4


def test_nothing_to_draw_is_said():
    assert "Neither" in notes(canary_roc(NONE, MEMBERSHIP.head(0), title=""))


def test_missing_columns_and_unknown_groups_are_named():
    with pytest.raises(ValueError, match="curves lacks the columns fpr"):
        canary_roc(PREDICTED.drop(columns="fpr"), MEMBERSHIP, title="")
    with pytest.raises(ValueError, match="membership lacks the columns group"):
        canary_roc(NONE, MEMBERSHIP.drop(columns="group"), title="")
    with pytest.raises(ValueError, match="group holds"):
        canary_roc(NONE, MEMBERSHIP.assign(group="birds"), title="")
