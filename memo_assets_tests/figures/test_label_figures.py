"""Agreement of attacks, and of labels from fewer models: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.attacks import attack_agreement, attack_label, score_label
from memo_assets.figures.label_stability import label_stability
from memo_assets.measures.attacks import ATTACKS
from memo_assets_tests.figures.helpers import layout_of, notes, traces

POINTS = pd.DataFrame(
    [
        (comparison, measure, size, value - 0.1, value, value + 0.05)
        for comparison, add in (("disjoint", 0.0), ("all", 0.1))
        for measure, value in (("agreement", 0.5 + add), ("spearman", 0.7 + add))
        for size in (8, 4)
    ],
    columns=["comparison", "measure", "n_shadows", "q25", "median", "q75"],
)


def test_every_attack_has_a_name_of_its_own():
    names = {attack_label(name) for name in ATTACKS}
    assert len(names) == len(ATTACKS)
    assert not any("_" in name or name == name.lower() for name in names)
    assert score_label("online_lira") == "log-LiRA"
    assert score_label("rmia") == "score of RMIA"
    assert score_label("loo_lira") == "score of LiRA, leave one out (nats)"


def test_attacks_are_compared_with_the_studys_own():
    points = pd.DataFrame(
        {
            "attack": ["online_lira", "rmia", "loo_lira", "offline_rmia"],
            "overlap": [1.0, 0.4, 0.9, np.nan],
            "spearman": [1.0, -0.2, 0.8, np.nan],
        }
    )
    figure = attack_agreement(points, title="T", own="online_lira")
    overlap, spearman = traces(figure)
    assert list(overlap.y) == list(spearman.y) == ["RMIA", "LiRA, leave one out"]
    np.testing.assert_array_equal(overlap.x, [0.4, 0.9])
    np.testing.assert_array_equal(spearman.x, [-0.2, 0.8])
    assert layout_of(figure).xaxis.range[0] < -0.2
    assert "by LiRA" in layout_of(figure).title.subtitle.text
    assert "nothing to compare" in notes(attack_agreement(points.head(1), title="", own="online_lira"))
    with pytest.raises(ValueError, match="points lacks the columns spearman"):
        attack_agreement(points.drop(columns="spearman"), title="", own="rmia")


def test_stability_lines_bands_and_limit():
    figure = label_stability(POINTS, title="T", advice="Train more. " * 20, enough=0.9)
    band, disjoint, whole, *_ = traces(figure)
    np.testing.assert_array_equal(disjoint.x, [4, 8])
    np.testing.assert_array_equal(disjoint.y, [0.5, 0.5])
    np.testing.assert_array_equal(whole.y, [0.6, 0.6])
    np.testing.assert_array_equal(band.x, [4, 8, 8, 4])
    np.testing.assert_allclose(band.y, [0.55, 0.55, 0.4, 0.4])
    assert len(traces(figure)) == 6
    assert layout_of(figure).shapes[0].y0 == 0.9
    assert layout_of(figure).title.subtitle.text.count("<br>") == 2
    assert list(layout_of(figure).xaxis.ticktext) == ["4", "8"]


def test_stability_without_two_disjoint_sets_says_so():
    figure = label_stability(POINTS[POINTS["comparison"] == "all"], title="", advice="Too few.", enough=0.9)
    assert notes(figure) == "Too few."
    with pytest.raises(ValueError, match=r"column comparison holds \['halves'\]"):
        label_stability(POINTS.assign(comparison="halves"), title="", advice="", enough=0.9)
