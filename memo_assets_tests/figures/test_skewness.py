"""Panels of skewness: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.skewness import skewness_panels
from memo_assets_tests.figures.helpers import layout_of, notes, traces

POINTS = pd.DataFrame(
    [
        (over, value, measure, estimate, estimate - 0.5, estimate + 1)
        for over, values in (("size", [400, 100]), ("epoch", [0, 4, 0.5]), ("similarity", [0.3, 0.9]))
        for value in values
        for measure, estimate in (("skewness", 2.0 + value), ("mean", -1.0 - value))
    ],
    columns=["over", "value", "measure", "estimate", "low", "high"],
)


def test_three_panels_with_intervals():
    figure = skewness_panels(POINTS, title="T")
    epoch, size, similarity, mean = traces(figure)
    np.testing.assert_array_equal(epoch.x, [0, 1, 2])  # checkpoints evenly spaced
    np.testing.assert_array_equal(epoch.y, [2, 2.5, 6])
    np.testing.assert_array_equal(epoch.customdata[:, 0], [0, 0.5, 4])
    np.testing.assert_array_equal(size.x, [100, 400])
    np.testing.assert_array_equal(similarity.x, [0.3, 0.9])
    np.testing.assert_allclose(mean.y, [-1.3, -1.9])
    np.testing.assert_allclose(size.error_y.array, [1, 1])
    np.testing.assert_allclose(size.error_y.arrayminus, [0.5, 0.5])
    assert len({epoch.yaxis, size.yaxis, similarity.yaxis, mean.yaxis}) == 4
    assert layout_of(figure).xaxis2.type == "log"
    assert list(layout_of(figure).xaxis2.ticktext) == ["100", "400"]
    assert list(layout_of(figure).xaxis.ticktext) == ["0", "0.5", "4"]
    assert [trace.name for trace in traces(figure) if trace.showlegend] == [
        "Skewness",
        "Mean score of the group",
    ]


def test_what_is_not_there_is_said():
    undefined = POINTS.assign(estimate=POINTS["estimate"].where(POINTS["over"] != "similarity"))
    figure = skewness_panels(undefined, title="T")
    assert notes(figure) == "too few samples"
    assert len(traces(figure)) == 2
    assert "no skewness" in notes(skewness_panels(POINTS.head(0), title="T"))
    with pytest.raises(ValueError, match="points lacks the columns low"):
        skewness_panels(POINTS.drop(columns="low"), title="T")
    with pytest.raises(ValueError, match=r"column over holds \['loss'\]"):
        skewness_panels(POINTS.assign(over="loss"), title="T")
