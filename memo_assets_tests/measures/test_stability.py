"""Agreement by hand, and what resampling finds where the truth is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from memo_assets.measures.stability import ALL, DISJOINT, agreement, label_stability, sizes, verdict


def top_two(scores: np.ndarray) -> np.ndarray:
    return scores >= np.sort(scores)[-2]


def test_agreement_by_hand():
    first, second = [5.0, 4.0, 3.0, 1.0, np.nan, 2.0], [9.0, 1.0, 8.0, 2.0, 5.0, np.nan]
    found = agreement(first, second, top_two)
    # Of the four samples with both scores the sets are {0, 1} and {0, 2}; ranks are 4 3 2 1 and 4 1 3 2.
    assert found == {"agreement": 0.5, "jaccard": 1 / 3, "spearman": pytest.approx(0.4), "scored": 4 / 6}


def test_agreement_shares_ties_as_scipy_does():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 200)).astype(float)
    expected = float(np.asarray(spearmanr(x, y))[0])
    assert agreement(x, y, top_two)["spearman"] == pytest.approx(expected, rel=1e-12)


def test_what_is_undefined_is_nan():
    nothing = agreement([1.0, np.nan], [np.nan, 2.0], top_two)
    assert nothing["scored"] == 0
    assert all(np.isnan(nothing[name]) for name in ("agreement", "jaccard", "spearman"))
    none = agreement([1.0, 1.0], [1.0, 2.0], lambda scores: scores > 5)
    assert np.isnan(none["agreement"])
    assert np.isnan(none["spearman"])
    assert agreement([1.0, 2.0], [1.0, 2.0], top_two)["agreement"] == 1


def test_sizes_double_up_to_half_and_to_all():
    assert sizes(99) == {DISJOINT: [4, 8, 16, 32, 49], ALL: [4, 8, 16, 32, 64]}
    assert sizes(32) == {DISJOINT: [4, 8, 16], ALL: [4, 8, 16]}
    assert sizes(9) == {DISJOINT: [4], ALL: [4, 8]}
    assert sizes(3) == {DISJOINT: [], ALL: []}


def test_sets_are_drawn_as_said_and_scores_are_those_of_their_models():
    seen: list[np.ndarray] = []

    def score(models: np.ndarray) -> np.ndarray:
        seen.append(models)
        return np.array([models.sum(), 0.0, 1.0])

    shadows = [1, 2, 4, 5, 6, 7, 8, 9, 10]
    rows = label_stability(score, top_two, shadows, draws=3)
    assert [(row["comparison"], row["n_shadows"], row["draw"]) for row in rows] == [
        (kind, size, draw) for kind, size in ((DISJOINT, 4), (ALL, 4), (ALL, 8)) for draw in range(3)
    ]
    assert seen[0].tolist() == shadows
    pairs = np.array(seen[1:7]).reshape(3, 2, 4)
    for one, other in pairs:
        assert len({*one, *other}) == 8
        assert {*one, *other} <= set(shadows)
        assert (np.diff(one) > 0).all()
    assert len({tuple(models) for models in pairs.reshape(6, 4)}) > 2
    again = label_stability(score, top_two, shadows, draws=3)
    assert again == rows
    seen.clear()
    label_stability(score, top_two, shadows, draws=3, seed=1)
    assert not np.array_equal(np.array(seen[1:7]).reshape(3, 2, 4), pairs)


def test_more_models_agree_more_and_scores_without_noise_agree_wholly():
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=400), rng.normal(size=(65, 400))

    def label(scores: np.ndarray) -> np.ndarray:
        return scores >= np.quantile(scores, 0.9)

    rows = label_stability(lambda models: truth + noise[models].mean(axis=0), label, range(64), draws=10)
    by_size = {
        size: np.median(
            [
                float(str(row["agreement"]))
                for row in rows
                if (row["comparison"], row["n_shadows"]) == (DISJOINT, size)
            ]
        )
        for size in (4, 8, 16, 32)
    }
    assert list(by_size.values()) == sorted(by_size.values())
    assert by_size[4] < 0.7 < by_size[32] < 1
    certain = label_stability(lambda _: truth, label, range(64), draws=2)
    assert {row["agreement"] for row in certain} == {row["jaccard"] for row in certain} == {1.0}
    assert [row["spearman"] for row in certain] == pytest.approx([1.0] * len(certain))


@pytest.mark.parametrize(
    ("tried", "medians", "n_shadows", "expected"),
    [
        ([4, 8, 16], [0.5, 0.91, 0.95], 32, (8, 0.04, 0.99)),
        ([4, 8, 16], [0.95, 0.85, 0.92], 32, (16, 0.07, 0.99)),
        ([4, 8, 16], [0.5, 0.6, 0.7], 32, (None, 0.1, 0.8)),
        ([4, 16], [0.5, 0.9], 128, (16, 0.2, 1.0)),
        ([4], [0.6], 9, (None, None, 0.6)),
    ],
)
def test_verdict(tried, medians, n_shadows, expected):
    found = verdict(tried, medians, n_shadows)
    assert found.stable_from == expected[0]
    assert found.gain == (None if expected[1] is None else pytest.approx(expected[1]))
    assert found.expected == pytest.approx(expected[2])
