"""Figure of protected variants: points, bars, what is marked, and what is missing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.mitigations import _positions, mitigations
from memo_assets_tests.figures.helpers import layout_of, notes, traces

NAMES = ["none", "drop", "dp"]


def rows(study: str = "A", groups: tuple[str, ...] = ("protected", "left", "all")) -> pd.DataFrame:
    """Three protections: accuracy .9, .8, .7; AUC .6, .55, .5; TPR .3, .2, .1 of the first group, .1 less of the next."""
    return pd.DataFrame(
        [
            {
                "study": study,
                "mitigation": name,
                "sample_group": group,
                "test_accuracy": 0.9 - 0.1 * place,
                "test_accuracy_sd": 0.01,
                "attack_auc": 0.6 - 0.05 * place,
                "attack_tpr_at_fpr_01": 0.3 - 0.1 * place + 0.01 * order,
                "epsilon": 4.25 if name == "dp" else np.nan,
            }
            for place, name in enumerate(NAMES)
            for order, group in enumerate(groups)
        ]
    )


def drawn(points: pd.DataFrame, missing: tuple[str, ...] = ()) -> Any:
    return mitigations(points, title="T", missing=missing)


def test_a_point_a_protection_and_bars_of_both_groups():
    figure = drawn(rows(), ("a_elr",))
    points, left, protected = traces(figure)
    assert list(points.text) == ["none", "drop", "dp, ε 4.25"]
    np.testing.assert_allclose(points.x, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(points.y, [0.6, 0.55, 0.5])
    np.testing.assert_allclose(points.error_x.array, [0.01] * 3)
    assert list(points.marker.symbol) == ["diamond", "circle", "circle"]
    assert (left.name, protected.name) == ("Samples left", "Samples at risk")
    np.testing.assert_allclose(protected.x, [0.3, 0.2, 0.1])
    np.testing.assert_allclose(left.x, [0.31, 0.21, 0.11])
    assert list(left.y) == NAMES
    layout = layout_of(figure)
    assert "not there yet: a_elr" in layout.title.subtitle.text
    assert layout.xaxis.title.text == "Test accuracy, mean and sd over models"
    assert layout.yaxis.title.text == "AUC of the attack, all samples"
    assert layout.xaxis2.title.text == "TPR of the attack at 1 % FPR"
    assert list(layout.yaxis2.categoryarray) == NAMES


def test_without_an_audit_there_are_bars_of_all_samples():
    _, bars = traces(drawn(rows(groups=("all",))))
    assert bars.name == "All samples"


def test_a_row_a_study_and_one_legend():
    figure = drawn(pd.concat([rows(), rows("B")]))
    titles = [note.text for note in layout_of(figure).annotations]
    assert {"A", "B"} <= set(titles)
    shown = [trace.name for trace in traces(figure) if trace.type == "bar" and trace.showlegend]
    assert shown == ["Samples left", "Samples at risk"]
    assert layout_of(figure).height == 230 + 2 * 420


def test_a_crowd_of_labels_covers_neither_points_nor_each_other():
    # Five points on top of each other in the middle, between two far away ones in the corners.
    x, y = np.array([0.0, 5, 5, 5, 5, 5, 10]), np.array([0.0, 5, 5.1, 4.9, 5.05, 5, 10])
    found = _positions(x, y, np.zeros(7), ["a long label"] * 7)
    assert found[1:6] == ["top right", "top left", "bottom center", "middle left", "middle right"]
    assert (found[0], found[6]) == ("top right", "bottom left")


def test_labels_of_two_points_that_touch_stand_apart():
    near = rows(groups=("all",)).assign(test_accuracy=[0.8, 0.801, 0.9], attack_auc=[0.6, 0.601, 0.5])
    points, _ = traces(drawn(near))
    assert list(points.textposition) == ["top left", "bottom right", "top center"]


def test_nothing_to_draw_is_said_and_a_lacking_column_refused():
    figure = drawn(rows().iloc[:0], ("a", "a_drop"))
    assert "none has been run yet. Not there: a, a_drop" in notes(figure).replace("<br>", " ")
    with pytest.raises(ValueError, match=r"points.*attack_auc"):
        drawn(rows().drop(columns="attack_auc"))


def test_a_protection_that_could_not_be_attacked_leaves_a_gap():
    gap = rows().assign(attack_auc=[np.nan] * 9, attack_tpr_at_fpr_01=[np.nan] * 9)
    points, *_ = traces(drawn(gap))
    assert np.isnan(points.y).all()
