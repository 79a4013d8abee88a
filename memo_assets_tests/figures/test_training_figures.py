"""Histograms of log-LiRA, dynamics, loss and accuracy."""

# Plotly makes the attributes of traces and layouts at run time.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.dynamics import dynamics
from memo_assets.figures.lira_histogram import MAX_PANELS, log_lira_histogram
from memo_assets.figures.training_curves import loss_and_accuracy
from memo_assets.figures.weights import weight_norms_over_epochs
from memo_assets_tests.figures.helpers import layout_of, notes, traces


def scores(epochs, n=200):
    rng = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {
                "epoch": float(epoch),
                "score": rng.normal(size=n) * (1 + epoch),
                "label_status": np.where(np.arange(n) % 10 == 0, "random", "true"),
            }
        )
        for epoch in epochs
    )


def bands(quantities=("PSMI", "log-LiRA", "Loss")):
    return pd.DataFrame(
        [
            {
                "epoch": epoch,
                "group": group,
                "quantity": quantity,
                "q25": 0.0,
                "median": 0.5 + epoch,
                "q75": 3.0,
            }
            for epoch in (0.0, 0.2, 1.0)
            for group in ("predicted safe", "predicted at risk")
            for quantity in quantities
        ]
    )


TRAINING = pd.DataFrame(
    {
        "epoch": [0.0, 0.2, 0.0, 0.2],
        "part": ["train", "train", "test", "test"],
        "median_loss": [1.0, 0.0, 1.1, 0.6],
        "mean_loss": [1.2, 0.3, 1.3, 0.9],
        "accuracy": [0.25, 1.0, 0.25, 0.5],
    }
)


def test_histogram_counts_every_sample_once():
    figure = log_lira_histogram(scores([0, 1]), title="LiRA")
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [bar.name for bar in bars] == ["true label", "noisy label"] * 2
    assert [sum(bar.y) for bar in bars] == pytest.approx([90, 10, 90, 10])
    assert sum(trace.showlegend is True for trace in bars) == 2


def test_histogram_line_stands_at_the_quantile():
    values = pd.DataFrame({"epoch": 3.0, "score": np.arange(11.0), "label_status": "true"})
    figure = log_lira_histogram(values, title="")
    assert layout_of(figure).shapes[0].x0 == pytest.approx(np.arcsinh(9.0))
    assert "epoch 3" in notes(figure)
    assert "line at 9" in notes(figure)
    figure = log_lira_histogram(values, title="", quantile=0.5)
    assert layout_of(figure).shapes[0].x0 == pytest.approx(np.arcsinh(5.0))
    assert "50 % line" in [trace.name for trace in figure.data]


def test_histogram_line_stands_at_eta():
    values = pd.DataFrame({"epoch": 3.0, "score": np.arange(11.0), "label_status": "true"})
    figure = log_lira_histogram(values, title="", eta=4, score="nats")
    assert layout_of(figure).shapes[0].x0 == pytest.approx(np.arcsinh(4.0))
    assert "at least 4" in layout_of(figure).title.subtitle.text
    assert "line at 4" in [trace.name for trace in figure.data]
    assert layout_of(figure).xaxis.title.text == "nats"
    assert "0.4" not in layout_of(figure).xaxis.ticktext


def test_histogram_of_shares_has_ticks_between_0_and_1():
    values = pd.DataFrame({"epoch": 3.0, "score": np.arange(11.0) / 10, "label_status": "true"})
    figure = log_lira_histogram(values, title="", eta=0.8)
    assert list(layout_of(figure).xaxis.ticktext) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_histogram_of_many_epochs_shows_nine_with_both_ends():
    figure = log_lira_histogram(scores(range(25), n=20), title="")
    titles = [note.text for note in layout_of(figure).annotations]
    assert len(titles) == MAX_PANELS
    assert "epoch 0<" in titles[0]
    assert "epoch 24<" in titles[-1]
    assert "9 of 25 checkpoints" in layout_of(figure).title.subtitle.text


def test_histogram_clips_and_leaves_out_samples_without_a_score():
    values = pd.DataFrame(
        {"epoch": 1.0, "score": [-np.inf, -1e6, 0.0, 1e9, np.nan], "label_status": ["true"] * 5}
    )
    bars = [trace for trace in log_lira_histogram(values, title="").data if trace.type == "bar"]
    assert sum(bars[0].y) == pytest.approx(100)
    assert (bars[0].y[0], max(bars[0].y), bars[0].y[-1]) != (0, 0, 0)
    assert np.abs(bars[0].customdata).max() < 120


def test_histogram_of_equal_scores_is_finite():
    values = pd.DataFrame({"epoch": 0.0, "score": [0.0, 0.0], "label_status": "true"})
    figure = log_lira_histogram(values, title="")
    assert np.isfinite(layout_of(figure).xaxis.range).all()
    assert sum(figure.data[0].y) == pytest.approx(100)


def test_histogram_errors():
    with pytest.raises(ValueError, match="values lacks the columns label_status"):
        log_lira_histogram(scores([0]).drop(columns="label_status"), title="")
    with pytest.raises(ValueError, match=r"holds \['noisy'\]"):
        log_lira_histogram(scores([0]).assign(label_status="noisy"), title="")
    assert "no scores" in notes(log_lira_histogram(scores([0]).assign(score=np.nan), title=""))


def test_dynamics_draws_a_band_and_a_median_for_each_panel_and_group():
    figure = dynamics(bands(), title="Dynamics", low_loss_epoch=0.2, best_test_epoch=1)
    medians = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(medians) == 6
    assert {trace.yaxis for trace in medians} == {"y", "y2", "y3"}
    np.testing.assert_array_equal(medians[0].x, [0, 1, 2])
    np.testing.assert_allclose(medians[0].y, [0.5, 0.7, 1.5])
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert names == [
        "predicted safe",
        "predicted at risk",
        "low training loss (epoch 0.2)",
        "best test accuracy (epoch 1)",
    ]
    assert {shape.x0 for shape in layout_of(figure).shapes} == {1, 2}


def test_dynamics_without_epochs_or_without_a_quantity():
    figure = dynamics(bands(("PSMI", "Loss")), title="", low_loss_epoch=None, best_test_epoch=None)
    assert not layout_of(figure).shapes
    assert "No values of log-LiRA" in notes(figure)
    assert "no samples predicted" in notes(
        dynamics(bands().head(0), title="", low_loss_epoch=None, best_test_epoch=None)
    )


def test_dynamics_errors():
    with pytest.raises(ValueError, match="curves lacks the columns q75"):
        dynamics(bands().drop(columns="q75"), title="", low_loss_epoch=None, best_test_epoch=None)
    with pytest.raises(ValueError, match="column quantity"):
        dynamics(bands(("psmi",)), title="", low_loss_epoch=None, best_test_epoch=None)


def test_loss_and_accuracy_values():
    figure = loss_and_accuracy(TRAINING, title="Training", prediction_epoch=0.2)
    median, mean, accuracy = figure.data[:3]
    np.testing.assert_allclose(median.y, [1.0, 2.0**-24])
    np.testing.assert_allclose(mean.y, [1.2, 0.3])
    np.testing.assert_allclose(accuracy.y, [25, 100])
    assert layout_of(figure).yaxis.type == "log"
    assert {shape.x0 for shape in layout_of(figure).shapes} == {1}
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert names == ["train", "test", "prediction epoch 0.2"]


def test_loss_and_accuracy_without_prediction_epoch_or_rows():
    figure = loss_and_accuracy(TRAINING, title="", prediction_epoch=None)
    assert "there is no prediction epoch" in layout_of(figure).title.subtitle.text
    assert not layout_of(figure).shapes
    assert "No checkpoint" in notes(loss_and_accuracy(TRAINING.head(0), title="", prediction_epoch=None))


def test_loss_and_accuracy_without_any_finite_loss():
    figure = loss_and_accuracy(
        TRAINING.assign(median_loss=np.nan, mean_loss=np.nan), title="", prediction_epoch=None
    )
    assert "No finite loss" in notes(figure)


def test_loss_and_accuracy_errors():
    with pytest.raises(ValueError, match="curves lacks the columns mean_loss, accuracy"):
        loss_and_accuracy(TRAINING.drop(columns=["mean_loss", "accuracy"]), title="", prediction_epoch=None)
    with pytest.raises(ValueError, match="column part"):
        loss_and_accuracy(TRAINING.assign(part="dev"), title="", prediction_epoch=None)


def test_norms_are_drawn_as_multiples_of_their_last_value_and_hover_the_true_one():
    points = pd.DataFrame(
        [
            ("frobenius", 0.0, 4.0, 0.0),
            ("frobenius", 1.0, 8.0, 5.0),
            ("nuclear", 0.0, 0.0, 0.0),
            ("nuclear", 1.0, 0.0, 0.0),
        ],
        columns=["norm", "epoch", "value", "distance"],
    )
    figure = weight_norms_over_epochs(points, title="T", matrix="Weights", prediction_epoch=1.0)
    frobenius, nuclear, distance, _, line = [trace for trace in figure.data if trace.mode][:5]
    np.testing.assert_array_equal(frobenius.y, [0.5, 1])
    np.testing.assert_array_equal(frobenius.customdata, [4, 8])
    np.testing.assert_array_equal(nuclear.y, [0, 0])  # what never moves is 0, not nan
    np.testing.assert_array_equal(distance.y, [0, 1])
    assert (distance.xaxis, distance.showlegend) == ("x2", False)
    assert line.name == "prediction epoch 1"
    assert "Weights, of all modules together" in layout_of(figure).title.subtitle.text
    empty = weight_norms_over_epochs(points.head(0), title="T", matrix="W", prediction_epoch=None)
    assert "No weights have been measured yet" in notes(empty)


def test_updates_that_start_at_0_have_one_panel():
    points = pd.DataFrame(
        [("frobenius", 0.0, 0.0, 0.0), ("frobenius", 1.0, 8.0, 8.0)],
        columns=["norm", "epoch", "value", "distance"],
    )
    figure = weight_norms_over_epochs(points, title="T", matrix="Updates", prediction_epoch=None)
    [curve] = [trace for trace in traces(figure) if trace.mode]
    np.testing.assert_array_equal(curve.customdata, [0, 8])
    assert layout_of(figure).annotations[0].text == "Norm, which is the distance from step 0"
