"""How far memorization labels depend on which shadow models happened to be trained.

Here belong the resampling of shadow models, the agreement of two labellings and when there are models enough. The attack
that scores is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

SMALLEST = 4
"""Fewest shadow models that are tried: with fewer, most samples have no spread in or out."""

DISJOINT, ALL = "disjoint", "all"
ENOUGH = 0.9
"""Agreement of labels from two sets of models from which on they count as stable."""


def agreement(
    first: ArrayLike, second: ArrayLike, label: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """How well two sets of scores of the same samples agree.

    Args:
        first: [N], nan where a sample has no score; both are read where both have one.
        second: [N], of the same samples.
        label: scores [n] -> bool [n], the memorized ones.

    Returns:
        `agreement`: 2 |A and B| / (|A| + |B|), the share of one memorized set found in the other (Dice); `jaccard`:
        |A and B| / |A or B|; `spearman`: rank correlation of the scores (ties share their mean rank); `scored`: share
        of samples with both scores. nan where undefined: no sample memorized in either, no spread of scores, fewer than
        two samples scored.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    out = {"agreement": np.nan, "jaccard": np.nan, "spearman": np.nan, "scored": float(both.mean())}
    if both.sum() < 2:
        return out
    x, y = x[both], y[both]
    a, b = label(x), label(y)
    n_either, n_both = int(a.sum()) + int(b.sum()), int((a & b).sum())
    if n_either:
        out["agreement"], out["jaccard"] = 2 * n_both / n_either, n_both / (n_either - n_both)
    ranks = rankdata(np.stack([x, y]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    if scale > 0:
        out["spearman"] = float(ranks[0] @ ranks[1] / scale)
    return out


def sizes(n_shadows: int) -> dict[str, list[int]]:
    """Numbers of shadow models to try: 4, 8, 16, ... by kind of comparison.

    Two disjoint sets have room for half of the models each, and the last size is just that; compared with all models, a
    subset is smaller than all.

    Args:
        n_shadows: models other than the target.
    """
    doubled = [SMALLEST * 2**i for i in range(max(n_shadows, 1).bit_length())]
    half = n_shadows // 2
    disjoint = [size for size in doubled if size * 1.4 <= half] + ([half] if half >= SMALLEST else [])
    return {DISJOINT: disjoint, ALL: [size for size in doubled if size < n_shadows]}


def label_stability(
    score: Callable[[np.ndarray], np.ndarray],
    label: Callable[[np.ndarray], np.ndarray],
    shadows: Sequence[int],
    *,
    draws: int = 30,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Agreement of labels from fewer shadow models, drawn again and again without replacement.

    Two sets that share no model are two honest attempts at the same labels. A subset compared with all models shares its
    own models with them and looks better than it is: at the number of all models it would be 1. (Drawing with
    replacement would repeat models, and repeated models understate the spread that the attack needs.)

    Args:
        score: shadow models, some of `shadows` in rising order -> scores [N] of the target's training samples, nan
            without one.
        label: scores [n] -> bool [n].
        shadows: the shadow models, the target left out.
        draws: per size.
        seed: of the draws; those of one size depend on no other size.

    Returns:
        One dictionary per comparison (`disjoint`, `all`), n_shadows and draw: these three and what `agreement` returns.
    """
    models = np.asarray(shadows)
    whole = score(np.sort(models))
    rows: list[dict[str, object]] = []
    for kind, (comparison, tried) in enumerate(sizes(len(models)).items()):
        for size in tried:
            rng = np.random.default_rng([seed, kind, size])
            for draw in range(draws):
                drawn = rng.permutation(models)
                other = score(np.sort(drawn[size : 2 * size])) if comparison == DISJOINT else whole
                found = agreement(score(np.sort(drawn[:size])), other, label)
                rows.append({"comparison": comparison, "n_shadows": size, "draw": draw, **found})
    return rows


@dataclass(frozen=True)
class Verdict:
    """Whether there are shadow models enough.

    Attributes:
        stable_from: smallest number of models tried from which on two disjoint sets agree well enough; None if none.
        gain: what twice the models adds to the agreement, going on as at last; None with a single size.
        expected: the agreement to be expected of two sets of as many models as there are, by that gain; at most 1.
    """

    stable_from: int | None
    gain: float | None
    expected: float


def verdict(
    tried: Sequence[int], medians: Sequence[float], n_shadows: int, *, enough: float = ENOUGH
) -> Verdict:
    """Judge by the agreement of disjoint sets whether there are shadow models enough.

    Args:
        tried: rising sizes of the sets, at least one.
        medians: median agreement at each, finite.
        n_shadows: shadow models there are.
        enough: agreement that counts as stable.
    """
    gain = None
    if len(tried) > 1:
        gain = float((medians[-1] - medians[-2]) / np.log2(tried[-1] / tried[-2]))
    short = [size for size, median in zip(tried, medians, strict=True) if median < enough]
    later = [size for size in tried if not short or size > short[-1]]
    expected = min(1.0, float(medians[-1] + (gain or 0.0) * np.log2(n_shadows / tried[-1])))
    return Verdict(later[0] if later else None, gain, expected)
