"""Figures over studies: lines, means, what was published, and what is missing."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.comparison import (
    default_rule_over_studies,
    predictors_over_studies,
    roc_grid,
    subtitle,
)
from memo_assets_tests.figures.helpers import layout_of, notes, traces

POINTS = pd.DataFrame(
    [("A", "psmi", 0.1), ("A", "loss", 0.3), ("B", "psmi", 0.3), ("B", "loss", np.nan)],
    columns=["study", "predictor", "fpr"],
)
RULES = pd.DataFrame(
    [("A", 0.1, 0.8, np.nan, np.nan), ("B", 0.2, 0.9, 0.15, 0.85)],
    columns=["study", "fpr", "tpr", "published_fpr", "published_tpr"],
)
CURVES = pd.DataFrame(
    [(s, e, "psmi", x, x**0.5) for s, e in (("A", 1), ("A", 2), ("B", 0.4)) for x in (0.0, 0.25, 1.0)],
    columns=["study", "epoch", "predictor", "fpr", "tpr"],
)


def test_a_line_a_study_and_a_bold_mean_where_all_have_a_value():
    figure = predictors_over_studies(POINTS, title="T", missing=["c"], tpr=0.75)
    first, second, mean = traces(figure)
    assert list(first.x) == ["PSMI", "Loss"]
    np.testing.assert_array_equal(first.y, [0.1, 0.3])
    np.testing.assert_array_equal(second.y, [0.3, np.nan])
    np.testing.assert_allclose(mean.y, [0.2, np.nan])  # a mean over some of the studies would mislead
    assert mean.line.width > 2 * first.line.width
    assert "not there yet: c" in layout_of(figure).title.subtitle.text
    one = predictors_over_studies(POINTS.head(2), title="T", missing=[], tpr=0.75)
    assert [line.name for line in traces(one)] == ["A"]
    assert "not there" not in layout_of(one).title.subtitle.text


def test_published_points_are_open_and_out_of_the_mean():
    _, first, second, published, mean = traces(default_rule_over_studies(RULES, title="T", missing=[]))
    assert (first.x[0], first.y[0], second.x[0], second.y[0]) == (0.1, 0.8, 0.2, 0.9)
    assert (published.x[0], published.y[0], published.marker.symbol) == (0.15, 0.85, "circle-open")
    assert "published" in published.name
    np.testing.assert_allclose([mean.x[0], mean.y[0]], [0.15, 0.85])


def test_the_grid_has_a_row_a_study_and_a_column_an_epoch():
    figure = roc_grid(CURVES, title="T", missing=[])
    panels = [(curve.xaxis, curve.yaxis) for curve in traces(figure)]
    assert panels == [("x", "y"), ("x2", "y2"), ("x3", "y3")]
    np.testing.assert_array_equal(traces(figure)[0].y, [0, 0.5, 1])
    assert [curve.showlegend for curve in traces(figure)] == [True, False, False]
    assert "epoch 1 epoch 2 epoch 0.4" in notes(figure)


def test_without_studies_all_are_named_as_missing():
    assert "Not there: a, b" in notes(
        predictors_over_studies(POINTS.head(0), title="", missing=["a", "b"], tpr=0.75)
    )
    assert "Not there: a" in notes(default_rule_over_studies(RULES.head(0), title="", missing=["a"]))
    assert "Not there: a" in notes(roc_grid(CURVES.head(0), title="", missing=["a"]))
    with pytest.raises(ValueError, match="curves lacks the columns epoch"):
        roc_grid(CURVES.drop(columns="epoch"), title="", missing=[])


def test_as_many_missing_studies_are_named_as_fit():
    assert subtitle("Lower is better", []) == "Lower is better"
    assert subtitle("Lower is better", ["a", "b"]) == "Lower is better · not there yet: a, b"
    many = [f"mine_learning_rate{place:03d}" for place in range(200)]
    line = subtitle("Lower is better", many)
    assert line.endswith("mine_learning_rate003 and 196 more")
    assert len(line) <= 150
    assert subtitle("x" * 200, many).endswith("not there yet: mine_learning_rate000 and 199 more")


def test_a_long_message_takes_several_lines():
    names = [f"mine_learning_rate{place:03d}" for place in range(20)]
    text = notes(default_rule_over_studies(RULES.head(0), title="", missing=names))
    assert max(map(len, text.split("<br>"))) <= 95
    assert text.replace("<br>", " ").endswith(", ".join(names))
