"""Rates: the interval of Clopper and Pearson against its definition, the bootstrap over groups, refusals."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from memo_assets.measures.intervals import MIN_TRIALS, bootstrap_rate, exact_rate


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 12), (50, 100), (100, 100)])
def test_the_exact_interval_is_that_of_its_definition(successes: int, trials: int) -> None:
    rate = exact_rate(successes, trials)
    low = beta.ppf(0.025, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1.0
    assert (rate.low, rate.value, rate.high) == pytest.approx((low, successes / trials, high))


def test_the_exact_interval_covers_the_truth_at_least_as_often_as_it_says() -> None:
    n, truth = 30, 0.2
    covers = [exact_rate(k, n) for k in range(n + 1)]
    inside = [(rate.low or 0.0) <= truth <= (rate.high or 1.0) for rate in covers]
    assert binom.pmf(np.arange(n + 1), n, truth) @ np.array(inside) >= 0.95


def test_too_few_cases_carry_no_rate() -> None:
    rate = exact_rate(3, MIN_TRIALS - 1)
    assert (rate.value, rate.low, rate.high) == (None, None, None)
    assert (rate.successes, rate.trials) == (3, MIN_TRIALS - 1)
    assert rate.refused == "9 cases are too few to carry a rate; at least 10 are needed"
    assert exact_rate(3, MIN_TRIALS).refused is None
    assert exact_rate(0, 0, min_trials=0).value is None


def test_groups_widen_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    outcome = rng.random(200) < 0.3
    alone = bootstrap_rate(outcome.astype(int), np.ones(200, dtype=int), seed=1)
    # The same 200 outcomes eight times over, in whole groups, are no more evidence; as single cases they would be.
    grouped = bootstrap_rate(8 * outcome.astype(int), np.full(200, 8), seed=1)
    split = bootstrap_rate(np.repeat(outcome.astype(int), 8), np.ones(1600, dtype=int), seed=1)
    assert alone.value == grouped.value == split.value == outcome.mean()
    assert (alone.low, alone.high) == (grouped.low, grouped.high)
    assert width(split) < 0.5 * width(alone)
    exact = exact_rate(int(outcome.sum()), 200)
    assert width(alone) == pytest.approx(width(exact), rel=0.15)


def width(rate) -> float:
    return rate.high - rate.low


def test_the_bootstrap_refuses_few_groups_and_depends_on_the_seed_alone() -> None:
    trials = np.array([8] * 9 + [0] * 100)
    assert "9 samples with cases" in str(bootstrap_rate(trials // 2, trials, seed=0).refused)
    many = np.full(50, 4)
    one = bootstrap_rate(np.arange(50) % 5, many, seed=7)
    assert one == bootstrap_rate(np.arange(50) % 5, many, seed=7)
