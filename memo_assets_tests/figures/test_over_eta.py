"""ROC and AUC over eta: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.over_eta import auc_over_eta, roc_by_eta
from memo_assets.figures.theme import predictor_color
from memo_assets_tests.figures.helpers import layout_of, notes, traces

LOSS, PSMI = ("loss", None), ("psmi", 2)
CURVES = pd.DataFrame(
    [
        (eta, number, *predictor, *point, auc)
        for eta, number in ((4.0, 57), (1.0, 1), (6.0, 1234))
        for predictor, auc, middle in ((LOSS, 0.625, (0.5, 0.75)), (PSMI, 0.875, (0.25, 1.0)))
        for point in ((0.0, 0.0), middle, (1.0, 1.0))
    ],
    columns=["eta", "n_memorized", "predictor", "layer", "fpr", "tpr", "auc"],
)
POINTS = pd.DataFrame(
    [
        (4.0, 57, *PSMI, 0.9),
        (1.0, 300, *PSMI, 0.8),
        (4.0, 57, *LOSS, 0.7),
        (1.0, 300, *LOSS, np.nan),
        (9.0, 0, *PSMI, np.nan),
    ],
    columns=["eta", "n_memorized", "predictor", "layer", "auc"],
)


def test_a_panel_an_eta_with_its_aucs_and_one_legend():
    figure = roc_by_eta(CURVES, title="T", when="at epoch 6", default_rules={})
    titles = [note.text for note in layout_of(figure).annotations[:3]]
    assert titles == [
        "memorized: log-LiRA ≥ 1 (1 sample)",
        "memorized: log-LiRA ≥ 4 (57 samples)",
        "memorized: log-LiRA ≥ 6 (1,234 samples)",
    ]
    assert [(line.name, line.xaxis) for line in traces(figure)[3:6]] == [
        ("Chance", "x2"),
        ("PSMI, layer 2", "x2"),
        ("Loss", "x2"),
    ]
    np.testing.assert_array_equal(traces(figure)[4].x, [0, 0.25, 1])
    np.testing.assert_array_equal(traces(figure)[5].y, [0, 0.75, 1])
    assert [line.showlegend for line in traces(figure)] == [True] * 3 + [False] * 6
    text = layout_of(figure).annotations[3].text
    assert text.index("PSMI, layer 2 · 0.875") < text.index("Loss · 0.625")
    assert predictor_color("psmi") in text
    assert "at epoch 6" in layout_of(figure).title.subtitle.text


def test_the_default_rule_is_marked_where_there_is_one():
    rules = {4.0: (0.153, 0.887), 6.0: (np.nan, 0.5), 99.0: (0.1, 0.2)}
    figure = roc_by_eta(CURVES, title="", when="", default_rules=rules)
    diamonds = [line for line in traces(figure) if line.mode == "markers"]
    assert [(mark.x[0], mark.y[0], mark.xaxis) for mark in diamonds] == [(0.153, 0.887, "x2")]
    assert diamonds[0].marker.symbol == "diamond"
    assert notes(figure).count("FPR 0.153 · TPR 0.887") == 1


def test_an_eta_without_numbers_has_no_panel():
    nan = CURVES.assign(auc=CURVES["auc"].mask(CURVES["eta"] == 4))
    figure = roc_by_eta(nan, title="", when="", default_rules={})
    assert "≥ 4" not in notes(figure)
    assert {line.xaxis for line in traces(figure)} == {"x", "x2"}


def test_auc_over_eta_leaves_out_nan_and_counts_the_memorized():
    figure = auc_over_eta(POINTS, title="T", when="at epoch 6", chosen=4)
    psmi, loss, counts, chosen = traces(figure)
    np.testing.assert_array_equal(psmi.x, [1, 4])
    np.testing.assert_array_equal(psmi.y, [0.8, 0.9])
    np.testing.assert_array_equal(psmi.customdata, [300, 57])
    np.testing.assert_array_equal(loss.x, [4])
    assert "%{customdata" in loss.hovertemplate
    np.testing.assert_array_equal(counts.x, [1, 4])
    np.testing.assert_array_equal(counts.y, [300, 57])
    assert counts.yaxis == "y2"
    assert chosen.name == "eta of this study (4)"
    assert [line.x0 for line in layout_of(figure).shapes] == [4, 4]
    assert not layout_of(auc_over_eta(POINTS, title="", when="", chosen=None)).shapes


def test_nothing_to_draw_is_said():
    assert "no ROC curve" in notes(roc_by_eta(CURVES.assign(auc=np.nan), title="", when="", default_rules={}))
    assert "nothing to judge" in notes(auc_over_eta(POINTS.head(0), title="", when="", chosen=4))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="curves lacks the columns layer"):
        roc_by_eta(CURVES.drop(columns="layer"), title="", when="", default_rules={})
    with pytest.raises(ValueError, match="points lacks the columns n_memorized"):
        auc_over_eta(POINTS.drop(columns="n_memorized"), title="", when="", chosen=None)
