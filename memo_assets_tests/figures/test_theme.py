"""Names, colours, shared checks and the epoch axis."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from memo_assets.figures.epoch_axis import MAX_TICKS, EpochAxis, epoch_text
from memo_assets.figures.frames import by_predictor, finite, require_columns, require_values
from memo_assets.figures.theme import (
    TEMPLATE,
    decades,
    fit_title,
    message_figure,
    predictor_color,
    predictor_label,
    series_colors,
    style,
    translucent,
)
from memo_assets_tests.figures.helpers import layout_of, notes

PREDICTORS = [
    "psmi",
    "psmi_low",
    "psmi_high",
    "psmi_sd",
    "psmi_slope",
    "loss",
    "logit_gap",
    "mahalanobis",
    "early_log_lira",
    "el2n",
    "aum",
    "forgetting",
    "cartography_mean",
    "cartography_sd",
    "cumulative_loss",
    "lt_iqr",
    "calibrated_loss",
    "random",
]


@pytest.mark.parametrize(
    ("name", "layer", "label"),
    [
        ("psmi", 2, "PSMI, layer 2"),
        ("psmi", 2.0, "PSMI, layer 2"),
        ("loss", None, "Loss"),
        ("loss", np.nan, "Loss"),
        ("early_log_lira", pd.NA, "Early log-LiRA"),
        ("my_own_score", None, "my own score"),
    ],
)
def test_predictor_label(name, layer, label):
    assert predictor_label(name, layer) == label


def test_every_predictor_has_its_own_label_and_color():
    assert len({predictor_label(name) for name in PREDICTORS}) == len(PREDICTORS)
    assert len({predictor_color(name) for name in PREDICTORS}) == len(PREDICTORS)


def test_a_layer_is_paler_the_earlier_it_is():
    colors = series_colors(pd.DataFrame({"predictor": ["psmi"] * 3 + ["loss"], "layer": [1, 2, 3, None]}))
    assert colors["psmi", 3] == predictor_color("psmi") == "#0072b2"
    assert colors["psmi", 1] == "#99c7e0"  # 60 % of the way from the full colour to white, by hand
    assert int(colors["psmi", 1][1:3], 16) > int(colors["psmi", 2][1:3], 16) > int(colors["psmi", 3][1:3], 16)
    assert colors["loss", None] == predictor_color("loss")


def test_translucent():
    assert translucent("#0072B2", 0.5) == "rgba(0,114,178,0.5)"


def test_message_figure_says_the_sentence():
    figure = message_figure("Title", "Nothing yet.")
    assert layout_of(figure).title.text == "Title"
    assert notes(figure) == "Nothing yet."
    assert layout_of(figure).template == TEMPLATE


def test_a_long_title_is_broken_into_lines_with_room_for_them():
    words = "answers of every model of the study when the right option says something else than before"
    for given_top, expected in ((None, 96 + 26), (132, 132 + 26)):
        figure = style(go.Figure(), f"Cities & rivers: {words}")
        if given_top is not None:
            figure.update_layout(margin_t=given_top)
        fit_title(figure)
        lines = layout_of(figure).title.text.split("<br>")
        assert [len(line) <= 88 for line in lines] == [True, True]
        assert " ".join(lines) == f"Cities &amp; rivers: {words}"
        assert layout_of(figure).margin.t == expected
    short = style(go.Figure(), "Cities")
    fit_title(short)
    assert layout_of(short).title.text == "Cities"
    assert layout_of(short).margin.t is None
    fit_title(go.Figure())


def test_decades_have_a_tick_for_each_power_and_hold_all_values():
    axis = decades(np.array([0.002, 1.5]))
    assert {0.001, 0.01, 0.1, 1.0}.issubset(np.round(axis["tickvals"], 12))
    low, high = axis["range"]
    assert 10**low < 0.002
    assert 10**high > 1.5
    assert 0.5 not in np.round(axis["tickvals"], 12)
    assert 0.5 in np.round(decades(np.array([0.3, 0.7]))["tickvals"], 12)


def test_decades_of_one_value_still_have_a_width():
    low, high = decades(np.array([1.0, 1.0]))["range"]
    assert low < 0 < high


def test_epochs_stand_evenly_and_keep_their_names():
    axis = EpochAxis([0, 0.2, 0.4, 1, 2, 2, 0])
    np.testing.assert_allclose(axis.at([0, 0.2, 0.4, 1, 2]), [0, 1, 2, 3, 4])
    assert axis.at_one(1.5) == pytest.approx(3.5)
    assert axis.at_one(99) == 4
    assert axis.ticks() == ["0", "0.2", "0.4", "1", "2"]


def test_many_epochs_leave_labels_out_but_never_the_last():
    ticks = EpochAxis(range(200)).ticks()
    assert len(ticks) == 200
    assert ticks[0] == "0"
    assert ticks[-1] == "199"
    assert 10 < sum(map(bool, ticks)) <= MAX_TICKS + 1


def test_epoch_text_hides_rounding():
    assert [epoch_text(epoch) for epoch in (0.2 * 3, 12.0, 0)] == ["0.6", "12", "0"]


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="curves lacks the columns fpr, auc; it has predictor"):
        require_columns(pd.DataFrame({"predictor": []}), ["predictor", "fpr", "auc"], "curves")


def test_unknown_values_are_named():
    with pytest.raises(ValueError, match=r"column part holds \['dev'\]"):
        require_values(pd.DataFrame({"part": ["train", "dev"]}), "part", ["train"], what="curves")


def test_finite_drops_rows_and_accepts_nullable_types():
    frame = pd.DataFrame({"a": pd.array([1.0, None, 3.0], dtype="Float64"), "b": [1.0, 2.0, np.inf]})
    assert finite(frame, ["a", "b"]).index.tolist() == [0]


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object"])
def test_by_predictor_keeps_those_without_a_layer(dtype):
    layers = pd.Series([2, None, 1], dtype=dtype)
    frame = pd.DataFrame({"predictor": ["psmi", "loss", "psmi"], "layer": layers, "fpr": [0.1, 0.2, 0.3]})
    assert [(name, layer, rows["fpr"].tolist()) for name, layer, rows in by_predictor(frame)] == [
        ("psmi", 2, [0.1]),
        ("loss", None, [0.2]),
        ("psmi", 1, [0.3]),
    ]
    assert set(series_colors(frame)) == {("psmi", None), ("psmi", 1), ("psmi", 2), ("loss", None)}
