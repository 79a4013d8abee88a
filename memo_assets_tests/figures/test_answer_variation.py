"""Bars of accuracy before and after: traces hold the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.answer_variation import answer_variation
from memo_assets_tests.figures.helpers import layout_of, notes, traces

RATES = pd.DataFrame(
    [
        ("all", "accuracy", 0.8, 0.7, 0.9, 60),
        ("all", "lost", 0.5, 0.4, 0.6, 48),
        ("all", "varied_accuracy", 0.4, 0.3, 0.55, 60),
        ("memorized", "accuracy", np.nan, np.nan, np.nan, 4),
        ("memorized", "varied_accuracy", np.nan, np.nan, np.nan, 4),
        ("other", "accuracy", 0.75, 0.6, 0.9, 56),
        ("other", "varied_accuracy", 0.45, 0.3, 0.6, 56),
    ],
    columns=["among", "measure", "rate", "low", "high", "trials"],
)


def test_bars_with_intervals_of_the_groups_that_carry_a_rate():
    figure = answer_variation(RATES, title="T", note="other: 3 of 4 lost")
    before, after = traces(figure)
    assert list(before.x) == list(after.x) == ["other samples", "all samples"]
    np.testing.assert_allclose(before.y, [0.75, 0.8])
    np.testing.assert_allclose(after.y, [0.45, 0.4])
    np.testing.assert_allclose(after.error_y.array, [0.15, 0.15])
    np.testing.assert_allclose(after.error_y.arrayminus, [0.15, 0.1])
    assert layout_of(figure).title.subtitle.text == "other: 3 of 4 lost"


def test_too_few_questions_and_unknown_groups_are_said():
    assert "Too few questions" in notes(answer_variation(RATES.head(0), title="T", note=""))
    with pytest.raises(ValueError, match="rates lacks the columns trials"):
        answer_variation(RATES.drop(columns="trials"), title="T", note="")
    with pytest.raises(ValueError, match=r"column among holds \['nobody'\]"):
        answer_variation(RATES.assign(among="nobody"), title="T", note="")
