"""Skewness, shares and Gini by hand and against scipy; intervals against known distributions."""

import numpy as np
import pytest
from scipy.stats import skew

from memo_assets.measures.skewness import FEWEST, MEASURES, gini, skewness, spreads, top_share


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_skewness_is_scipys(seed: int, scale: float):
    values = np.random.default_rng(seed).gamma(1.5, scale, size=3 + 40 * seed)
    assert skewness(values) == pytest.approx(skew(values, bias=False), rel=1e-12)
    assert skewness(-values) == pytest.approx(-skewness(values), rel=1e-12)
    assert skewness(5 * values + scale) == pytest.approx(skewness(values), rel=1e-9)


def test_skewness_of_three_by_hand():
    # mean 1, moments m2 = 2 and m3 = 2: G1 = sqrt(6) / 1 * 2 / 2^1.5
    assert skewness([0, 0, 3]) == pytest.approx(np.sqrt(6) * 2 / 2**1.5)
    assert skewness([-1, 0, 1]) == 0


def test_one_sample_apart_from_all_others_is_the_most_skewed_there_is():
    assert skewness([0] * 99 + [1]) == pytest.approx(10)  # the root of n


def test_skewness_is_computed_in_double_precision():
    values = np.random.default_rng(0).gamma(2.0, size=1000).astype(np.float32) + np.float32(1000)
    assert skewness(values) == pytest.approx(skew(values.astype(np.float64), bias=False), rel=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [0.1] * 50, [0.0] * 9])
def test_skewness_of_too_few_or_equal_scores_is_undefined(values: list[float]):
    assert np.isnan(skewness(values))


def test_top_share_by_hand():
    scores = [-50, 0, 1, 2, 3, 4, 0, 0, 0, 10]
    assert top_share(scores, 0.1) == 10 / 20
    assert top_share(scores, 0.2) == 14 / 20
    assert top_share(scores, 0.11) == 14 / 20  # a share of a sample counts as a whole one
    assert top_share(scores, 1.0) == 1
    assert top_share([2.0] * 100, 0.1) == pytest.approx(0.1)
    assert np.isnan(top_share([-1.0, 0.0], 0.5))


def test_gini_by_hand():
    assert gini([1, 1, 1, 1]) == pytest.approx(0)
    assert gini([0, 0, 0, 7]) == pytest.approx(3 / 4)
    assert gini([-9, 0, 0, 7]) == gini([0, 0, 0, 7])
    values = np.random.default_rng(0).exponential(size=200)
    pairs = np.abs(values[:, None] - values).mean()
    assert gini(values) == pytest.approx(pairs / (2 * values.mean()))
    assert np.isnan(gini([-3.0, -1.0]))


def test_spreads_are_the_measures_and_leave_scores_out_that_are_not_finite():
    values = np.random.default_rng(1).normal(size=60)
    found = spreads([*values, np.nan, np.inf, -np.inf], seed=0, draws=20)
    assert found.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        assert found[name].estimate == pytest.approx(measure(values))
        assert found[name].n == 60
        assert found[name].low < found[name].high
    assert found == spreads(values, seed=0, draws=20)
    assert found["mean"] != spreads(values, seed=1, draws=20)["mean"]
    with pytest.raises(ValueError, match="draws: given 0, expected at least 1"):
        spreads(values, seed=0, draws=0)


def test_the_interval_of_the_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(2).normal(size=400)
    mean = spreads(values, seed=3, draws=2000)["mean"]
    half = 1.96 * values.std() / np.sqrt(400)
    assert mean.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_a_symmetric_law_holds_zero_and_a_skewed_one_does_not():
    symmetric = spreads(np.linspace(-1, 1, 500), seed=0)["skewness"]
    skewed = spreads(np.random.default_rng(4).exponential(size=500), seed=0)["skewness"]
    assert symmetric.low < 0 < symmetric.high
    assert 0.8 < skewed.low < skewed.estimate < skewed.high


def test_few_or_equal_scores_have_no_interval():
    few = spreads(np.arange(FEWEST - 1.0), seed=0)
    assert all(np.isnan([spread.estimate, spread.low, spread.high]).all() for spread in few.values())
    assert few["mean"].n == FEWEST - 1
    equal = spreads(np.full(30, 2.0), seed=0, draws=10)
    assert np.isnan([equal["skewness"].estimate, equal["skewness"].low]).all()
    assert (equal["mean"].low, equal["mean"].high) == (2, 2)
