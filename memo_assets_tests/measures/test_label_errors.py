"""Confident learning by values worked out by hand."""

import numpy as np
import pytest

from memo_assets.measures.label_errors import suspected_labels


def test_by_hand() -> None:
    probabilities = np.array(
        [
            [0.9, 0.1],  # threshold of label 0: mean of .9, .7, .2 = .6
            [0.7, 0.3],
            [0.2, 0.8],  # label 1 at .8 >= its threshold .7, label 0 at .2 < .6: suspected to be 1
            [0.1, 0.9],  # threshold of label 1: mean of .9, .5 = .7
            [0.5, 0.5],  # below both thresholds: nothing is said
        ]
    )
    assert suspected_labels(probabilities, np.array([0, 0, 0, 1, 1])).tolist() == [-1, -1, 1, -1, -1]


def test_of_several_classes_the_most_probable_counts() -> None:
    probabilities = np.array([[0.2, 0.45, 0.35], [0.1, 0.4, 0.5], [0.5, 0.3, 0.2], [0.4, 0.3, 0.3]])
    # Thresholds: label 0 mean(.2, .5, .4) = .3667, label 2 is .5, label 1 nobody bears, so nobody is suspected of it.
    assert suspected_labels(probabilities, np.array([0, 2, 0, 0])).tolist() == [-1, -1, -1, -1]
    # Thresholds .35, .4, .3: the first sample passes those of labels 1 and 2, the second that of 2 beside its own.
    assert suspected_labels(probabilities, np.array([0, 1, 0, 2])).tolist() == [1, 2, -1, 0]


def test_wrong_labels_are_found_among_clear_ones() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 1000)
    given = true.copy()
    wrong = rng.choice(1000, 50, replace=False)
    given[wrong] = (true[wrong] + 1) % 4
    logits = rng.normal(size=(1000, 4)) + 4 * np.eye(4)[true]
    odds = np.exp(logits)
    found = suspected_labels(odds / odds.sum(axis=1, keepdims=True), given)
    assert (found[wrong] == true[wrong]).mean() > 0.7
    assert (np.delete(found, wrong) != -1).mean() < 0.05


@pytest.mark.parametrize(
    ("probabilities", "given", "sentence"),
    [
        (np.ones((3, 2)), [0, 1], "expected \\[N, C\\] and \\[N\\]"),
        (np.full((2, 2), np.nan), [0, 1], "nan"),
        (np.full((2, 2), 0.5), [0, 2], "labels run from 0 to 2, expected 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(probabilities: np.ndarray, given: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        suspected_labels(probabilities, np.array(given))
