"""ROC, by layer, over epochs."""

# Plotly makes the attributes of traces and layouts at run time.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.layers import fpr_by_layer
from memo_assets.figures.over_epochs import fpr_over_epochs
from memo_assets.figures.roc import MAX_POINTS, roc_predictors
from memo_assets.figures.theme import predictor_color
from memo_assets_tests.figures.helpers import layout_of, notes

CURVES = pd.DataFrame(
    {
        "predictor": ["loss"] * 3 + ["psmi"] * 3,
        "layer": pd.array([None] * 3 + [2] * 3, dtype="Int64"),
        "fpr": [0, 0.5, 1, 0, 0.25, 1],
        "tpr": [0, 0.75, 1, 0, 1, 1],
        "auc": [0.625] * 3 + [0.875] * 3,
    }
)
POINTS = pd.DataFrame(
    {
        "predictor": ["psmi", "psmi", "psmi", "loss", "loss", "loss"],
        "layer": pd.array([2, 2, 2, None, None, None], dtype="Int64"),
        "epoch": [0, 0.2, 2, 0, 0.2, 2],
        "fpr": [0.9, 0.4, 0.1, 0.8, 0.5, 0.2],
    }
)
LOSSES = pd.DataFrame({"epoch": [0, 0.2, 2], "median_train_loss": [1.0, 0.5, 0.0]})
LAYERS = pd.DataFrame({"predictor": ["psmi"] * 3, "layer": [3, 1, 2], "fpr": [0.10, 0.30, 0.05]})


def trace(figure, start):
    return next(line for line in figure.data if line.name.startswith(start))


def test_roc_lists_predictors_by_auc():
    figure = roc_predictors(CURVES, title="ROC")
    assert [line.name for line in figure.data] == ["Chance · 0.500", "PSMI, layer 2 · 0.875", "Loss · 0.625"]
    np.testing.assert_array_equal(figure.data[1].x, [0, 0.25, 1])
    np.testing.assert_array_equal(figure.data[2].y, [0, 0.75, 1])
    assert figure.data[1].line.color == predictor_color("psmi").lower()
    assert "objective: TPR 0.75" in notes(figure)
    assert layout_of(figure).title.text == "ROC"


def test_roc_marks_the_default_rule():
    figure = roc_predictors(CURVES, title="ROC", default_rule=(0.153, 0.887))
    assert (figure.data[-1].x[0], figure.data[-1].y[0]) == (0.153, 0.887)
    assert "FPR 0.153 · TPR 0.887" in notes(figure)
    assert "default rule" not in notes(roc_predictors(CURVES, title="ROC"))


def test_long_roc_is_thinned_but_keeps_its_ends():
    steps = np.linspace(0, 1, 20_001)
    curve = pd.DataFrame({"predictor": "psmi", "layer": 1, "fpr": steps, "tpr": np.sqrt(steps), "auc": 2 / 3})
    drawn = roc_predictors(curve, title="").data[1]
    assert len(drawn.x) == MAX_POINTS
    assert (drawn.x[0], drawn.x[-1], drawn.y[-1]) == (0, 1, 1)
    np.testing.assert_allclose(drawn.y, np.sqrt(drawn.x))


def test_figures_without_rows_say_so():
    assert "no ROC curve" in notes(roc_predictors(CURVES.head(0), title=""))
    assert "No predictor" in notes(
        fpr_over_epochs(POINTS.head(0), LOSSES, title="", prediction_epoch=None, tpr=0.75)
    )
    assert "No layer" in notes(fpr_by_layer(LAYERS.head(0), title="", loss_fpr=None, tpr=0.75))
    assert "no ROC curve" in notes(roc_predictors(CURVES.assign(auc=np.nan), title=""))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="curves lacks the columns auc"):
        roc_predictors(CURVES.drop(columns="auc"), title="")
    with pytest.raises(ValueError, match="points lacks the columns layer, fpr"):
        fpr_by_layer(pd.DataFrame({"predictor": []}), title="", loss_fpr=0.1, tpr=0.75)
    with pytest.raises(ValueError, match="losses lacks the columns median_train_loss"):
        fpr_over_epochs(
            POINTS, LOSSES.drop(columns="median_train_loss"), title="", prediction_epoch=0.2, tpr=0.75
        )


def test_layers_are_sorted_and_the_best_is_ringed():
    repeated = LAYERS.set_axis([0, 0, 0])  # as pd.concat leaves an index
    figure = fpr_by_layer(repeated, title="", loss_fpr=0.083, tpr=0.75)
    line, ring, loss = figure.data
    np.testing.assert_array_equal(line.x, [1, 2, 3])
    np.testing.assert_array_equal(line.y, [0.30, 0.05, 0.10])
    assert line.name == "PSMI · best 0.050 at layer 2"
    assert (ring.x[0], ring.y[0]) == (2, 0.05)
    assert loss.name == "Loss · 0.083"
    assert set(loss.y) == {0.083}
    assert loss.line.dash == "dash"
    assert layout_of(figure).yaxis.title.text == "FPR at TPR 0.75"


def test_layers_without_the_loss_and_rows_without_a_layer():
    assert len(fpr_by_layer(LAYERS, title="", loss_fpr=None, tpr=0.75).data) == 2
    with pytest.raises(ValueError, match="points of loss have no layer"):
        fpr_by_layer(POINTS, title="", loss_fpr=0.1, tpr=0.75)


def test_over_epochs_places_checkpoints_evenly():
    figure = fpr_over_epochs(POINTS, LOSSES, title="", prediction_epoch=0.2, tpr=0.75)
    psmi, loss = trace(figure, "PSMI, layer 2"), trace(figure, "Loss")
    np.testing.assert_array_equal(psmi.x, [0, 1, 2])
    np.testing.assert_array_equal(psmi.y, [0.9, 0.4, 0.1])
    np.testing.assert_array_equal(loss.y, [0.8, 0.5, 0.2])
    assert list(layout_of(figure).xaxis.ticktext) == ["0", "0.2", "2"]
    assert layout_of(figure).shapes[0].x0 == 1
    assert trace(figure, "prediction epoch").name == "prediction epoch 0.2"


def test_over_epochs_draws_the_loss_on_a_log_axis_that_zero_does_not_break():
    figure = fpr_over_epochs(POINTS, LOSSES, title="", prediction_epoch=0.2, tpr=0.75)
    median = trace(figure, "Median training loss")
    assert median.yaxis == "y2"
    assert layout_of(figure).yaxis2.type == "log"
    np.testing.assert_allclose(median.y, [1.0, 0.5, 2.0**-24])


def test_over_epochs_says_that_there_is_no_prediction_epoch():
    figure = fpr_over_epochs(POINTS, LOSSES.head(0), title="", prediction_epoch=None, tpr=0.75)
    assert "there is no prediction epoch" in layout_of(figure).title.subtitle.text
    assert not layout_of(figure).shapes
    assert [line.name for line in figure.data] == ["PSMI, layer 2", "Loss"]
