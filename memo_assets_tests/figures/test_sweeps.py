"""Lines over a varied choice, and ranks against ranks: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.population import MAX_POINTS, rank_scatter
from memo_assets.figures.sweeps import fpr_by_label_epoch, fpr_by_objective, fpr_by_share
from memo_assets_tests.figures.helpers import layout_of, notes, traces

POINTS = pd.DataFrame(
    [("psmi", 2, 0.2, 0.3), ("psmi", 2, 0.1, 0.1), ("loss", None, 0.1, 0.2), ("loss", None, 0.2, np.nan)],
    columns=["predictor", "layer", "x", "fpr"],
)
VALUES = pd.DataFrame(
    {
        "counterfactual": [0.0, 1.0, 2.0, 3.0, np.nan],
        "attack_success_rate": [0.5, 0.5, 0.9, 0.7, 0.1],
        "label_status": ["true", "true", "random", "true", "true"],
    }
)


def test_lines_are_sorted_without_the_missing_and_the_choice_is_marked():
    figure = fpr_by_share(POINTS, title="T", when="at epoch 1", chosen=0.1, tpr=0.75)
    psmi, loss, chosen = traces(figure)
    assert (psmi.name, loss.name, chosen.name) == ("PSMI, layer 2", "Loss", "share of this study (0.1)")
    np.testing.assert_array_equal(psmi.x, [0.1, 0.2])
    np.testing.assert_array_equal(psmi.y, [0.1, 0.3])
    np.testing.assert_array_equal(loss.x, [0.1])
    assert layout_of(figure).shapes[0].x0 == 0.1
    assert "at epoch 1" in layout_of(figure).title.subtitle.text
    assert layout_of(figure).yaxis.title.text == "FPR at TPR 0.75"
    objective = fpr_by_objective(POINTS, title="T", when="", chosen=0.2)
    assert layout_of(objective).shapes[0].x0 == 0.2


def test_label_epochs_are_spaced_evenly():
    points = POINTS.assign(x=[8.0, 0.4, 0.4, 8.0])
    figure = fpr_by_label_epoch(points, title="T", when="", prediction_epoch=8, tpr=0.75)
    np.testing.assert_array_equal(traces(figure)[0].x, [0, 1])
    assert list(layout_of(figure).xaxis.ticktext) == ["0.4", "8"]
    assert layout_of(figure).shapes[0].x0 == 1
    unfallen = fpr_by_label_epoch(points, title="T", when="", prediction_epoch=None, tpr=0.75)
    assert not layout_of(unfallen).shapes


def test_nothing_to_judge_is_said():
    none = POINTS.assign(fpr=np.nan)
    assert "nothing to judge" in notes(fpr_by_share(none, title="", when="", chosen=0.1, tpr=0.75))
    assert "nothing to judge" in notes(
        fpr_by_label_epoch(none, title="", when="", prediction_epoch=1, tpr=0.75)
    )
    assert "no ranks" in notes(rank_scatter(VALUES.head(2), title=""))
    with pytest.raises(ValueError, match="points lacks the columns layer"):
        fpr_by_objective(POINTS.drop(columns="layer"), title="", when="", chosen=0.75)


def test_ranks_share_ties_and_rho_is_spearmans():
    figure = rank_scatter(VALUES, title="T")
    usual, noisy = traces(figure)
    np.testing.assert_array_equal(usual.x, [25, 50, 100])
    np.testing.assert_array_equal(usual.y, [37.5, 37.5, 75])
    assert (noisy.x[0], noisy.y[0]) == (75, 100)
    # Ranks 1 2 3 4 and 1.5 1.5 4 3: sums of products 3.5, of squares 5 and 4.5.
    assert f"{3.5 / 22.5**0.5:.3f} over 4 samples" in layout_of(figure).title.subtitle.text


def test_of_many_samples_some_are_drawn_and_all_are_ranked():
    n = 3 * MAX_POINTS
    many = pd.DataFrame(
        {"counterfactual": np.arange(n), "attack_success_rate": -np.arange(n), "label_status": "true"}
    )
    figure = rank_scatter(many, title="T")
    assert len(traces(figure)[0].x) == MAX_POINTS
    assert traces(figure)[0].x[-1] == 100
    assert f"-1.000 over {n} samples, {MAX_POINTS} drawn" in layout_of(figure).title.subtitle.text
