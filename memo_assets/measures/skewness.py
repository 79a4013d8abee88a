"""How unevenly memorization is spread over samples.

Here belong measures of the distribution of one score over samples, and their bootstrap intervals. Which samples are
measured together, and the score itself, are the caller's. Every measure takes one set of scores, or several of one size
as rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from memo_assets.measures.intervals import LEVEL

FEWEST = 20
"""Below so many samples no measure is given: the skewness of n samples is at most the root of n."""

_VALUES = 2**20
"""So many scores are drawn at once."""


@dataclass(frozen=True)
class Spread:
    """One measure of a distribution with its percentile interval of level `LEVEL`.

    Attributes:
        estimate: of the samples themselves; nan where it is undefined.
        low, high: ends of the interval; nan where more than half of the draws leave the measure undefined.
        n: samples with a finite score.
    """

    estimate: float
    low: float
    high: float
    n: int


def skewness(scores: ArrayLike) -> np.ndarray:
    """Skewness G1, corrected for bias under normality, computed in float64.

    G1 = sqrt(n (n - 1)) / (n - 2) * m3 / m2^1.5, with the central moments m2, m3 of the samples. 0 = symmetric, positive =
    a tail of high scores. nan for fewer than three scores, or if they do not differ.

    Args:
        scores: [..., n], finite.

    Returns:
        float64 [...].

    Source: Joanes and Gill, "Comparing measures of sample skewness and kurtosis", The Statistician 47, 1998.
    """
    values = np.asarray(scores, dtype=np.float64)
    n = values.shape[-1]
    if n < 3:
        return np.full(values.shape[:-1], np.nan)[()]
    away = values - values.mean(axis=-1, keepdims=True)
    squares = away * away
    second, third = squares.mean(axis=-1), (squares * away).mean(axis=-1)
    # Scores that differ by rounding alone have no shape.
    rounding = 16 * np.finfo(np.float64).eps * np.abs(values).max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(n * (n - 1)) / (n - 2) * third / second**1.5
    return np.where(np.ptp(values, axis=-1) <= rounding, np.nan, found)[()]


def top_share(scores: ArrayLike, share: float) -> np.ndarray:
    """What share of the sum of all positive scores the highest scores hold.

    A score below zero is evidence against memorization, and holds nothing. Shifting scores instead, so that the least is
    zero, would let one outlier at the low end decide.

    Args:
        scores: [..., n], finite.
        share: of the samples, in (0, 1]; rounded up to whole samples.

    Returns:
        Share in [0, 1], float64 [...]: `share` if all scores are equal and positive; nan if none is positive.
    """
    held = _held(scores)
    top = int(np.ceil(round(share * held.shape[-1], 9)))
    return _part(held[..., held.shape[-1] - top :].sum(axis=-1), held.sum(axis=-1))


def gini(scores: ArrayLike) -> np.ndarray:
    """Gini coefficient of the positive parts of the scores: 0 = all alike, 1 - 1/n = one sample holds all.

    Args:
        scores: [..., n], finite; those below zero hold nothing, as for `top_share`.

    Returns:
        sum_ij |x_i - x_j| / (2 n^2 mean), float64 [...]; nan if no score is positive.
    """
    held = _held(scores)
    n = held.shape[-1]
    ranks = np.arange(1, n + 1, dtype=np.float64)
    return (2 * _part(held @ ranks, n * held.sum(axis=-1)) - (n + 1) / n)[()]


def _held(scores: ArrayLike) -> np.ndarray:
    """What samples hold, rising: their scores, where these are positive."""
    held = np.asarray(scores, dtype=np.float64).clip(min=0)
    return held if (held[..., 1:] >= held[..., :-1]).all() else np.sort(held)


def _part(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Ratio of a part to a total; nan where the total is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, part / total, np.nan)[()]


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "skewness": skewness,
    "mean": lambda scores: scores.mean(axis=-1),
    "top_1_share": lambda scores: top_share(scores, 0.01),
    "top_10_share": lambda scores: top_share(scores, 0.1),
    "gini": gini,
}


def spreads(scores: ArrayLike, *, seed: int | list[int], draws: int = 500) -> dict[str, Spread]:
    """All measures of one set of scores, with percentile intervals over draws of samples with replacement.

    Samples are drawn as if they were independent; the models that scored them stay the same in every draw.

    Args:
        scores: [N]; nan and infinite ones are left out.
        seed: of the draws.
        draws: how many.

    Returns:
        One entry per measure of `MEASURES`; all nan with fewer than `FEWEST` finite scores.

    Raises:
        ValueError: draws is not positive.

    Source: Li et al., "Skewed Memorization in Large Language Models: Quantification and Decomposition", 2025,
    arXiv 2502.01187 (the question); Davison and Hinkley, "Bootstrap Methods and their Application", 1997 (the intervals).
    """
    if draws < 1:
        raise ValueError(f"draws: given {draws}, expected at least 1; the intervals are made of them")
    values = np.asarray(scores, dtype=np.float64)
    values = np.sort(values[np.isfinite(values)])
    n = len(values)
    if n < FEWEST:
        return {name: Spread(np.nan, np.nan, np.nan, n) for name in MEASURES}
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    step = max(1, _VALUES // n)
    for start in range(0, draws, step):
        drawn = _drawn(values, min(step, draws - start), rng)
        for name, measure in MEASURES.items():
            found[name].append(measure(drawn))
    return {
        name: Spread(float(measure(values)), *_ends(np.concatenate(found[name])), n)
        for name, measure in MEASURES.items()
    }


def _drawn(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Rows [draws, n] of n of the rising values [n], drawn with replacement; rising too."""
    n = len(values)
    places = rng.integers(0, n, (draws, n)) + n * np.arange(draws)[:, None]
    often = np.bincount(places.ravel(), minlength=draws * n)
    return np.repeat(np.tile(values, draws), often).reshape(draws, n)


def _ends(values: np.ndarray) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if 2 * len(defined) <= len(values):
        return np.nan, np.nan
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
