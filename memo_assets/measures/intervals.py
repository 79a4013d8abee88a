"""Rates with intervals, and the refusal of rates that too few cases cannot carry.

What belongs here: a share of counted cases and its exact interval, an AUC or a share over dependent cases and its bootstrap
interval. What does not: what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

LEVEL = 0.95
MIN_TRIALS = 10
"""Below so many cases no rate is given: its interval would be wider than half of [0, 1]."""


@dataclass(frozen=True)
class Rate:
    """A rate in [0, 1] with its interval of level `LEVEL`.

    Attributes:
        value: the rate; None if it is refused.
        low, high: ends of the interval; None if the rate is refused.
        successes: cases that count.
        trials: all cases.
        method: how the interval was found.
        refused: why there is no value; None if there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    successes: int
    trials: int
    method: str
    refused: str | None = None


def exact_rate(successes: int, trials: int, *, min_trials: int = MIN_TRIALS) -> Rate:
    """Share of independent cases with the interval of Clopper and Pearson.

    Args:
        successes: cases that count, at most `trials`.
        trials: all cases.
        min_trials: fewer cases than that give no rate but the reason.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
    """
    method = f"Clopper-Pearson, {LEVEL:.0%}"
    if trials < max(min_trials, 1):
        reason = f"{trials} cases are too few to carry a rate; at least {min_trials} are needed"
        return Rate(None, None, None, successes, trials, method, reason)
    interval = binomtest(successes, trials).proportion_ci(LEVEL, method="exact")
    return Rate(successes / trials, float(interval.low), float(interval.high), successes, trials, method)


def bootstrap_rate(
    successes: np.ndarray, trials: np.ndarray, *, seed: int, draws: int = 2000, min_trials: int = MIN_TRIALS
) -> Rate:
    """Share of cases that depend on each other within groups, with a percentile interval over draws of whole groups.

    Args:
        successes: int [G], cases that count in each group, such as the models in which one sample was flagged.
        trials: int [G], cases of each group.
        seed: of the draws.
        draws: how many.
        min_trials: fewer groups with cases, or fewer cases, than that give no rate but the reason.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 (resampling of groups).
    """
    method = f"bootstrap over samples, {LEVEL:.0%}"
    counted, total = int(successes.sum()), int(trials.sum())
    groups = int((trials > 0).sum())
    if groups < min_trials:
        reason = f"{groups} samples with cases are too few to carry a rate; at least {min_trials} are needed"
        return Rate(None, None, None, counted, total, method, reason)
    low, high = _percentiles(lambda rows: _share(successes[rows], trials[rows]), len(trials), seed, draws)
    return Rate(counted / total, low, high, counted, total, method)


def _share(successes: np.ndarray, trials: np.ndarray) -> float:
    total = trials.sum()
    return float(successes.sum() / total) if total else np.nan


def _percentiles(
    statistic: Callable[[np.ndarray], float], n: int, seed: int, draws: int
) -> tuple[float, float]:
    """Ends of the percentile interval of a statistic of drawn rows; draws that leave it undefined do not count."""
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(0, n, n)) for _ in range(draws)])
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)
