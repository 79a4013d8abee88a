"""RMIA: how many samples that nobody trained on a sample beats in likelihood ratio.

Scores are high for memorized samples and nan where the other models do not say enough: `rmia` states how many it needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from memo_assets.measures.shadows import others_on_trained, sample_blocks

GAMMA = 2.0
"""Least likelihood ratio by which RMIA counts a population sample as beaten."""

OFFLINE_A = 0.3
"""How far RMIA without models trained on the sample lets their probability follow the others'."""


def rmia(
    losses: ArrayLike,
    population_losses: ArrayLike,
    in_train: ArrayLike,
    target: int,
    *,
    online: bool = True,
    gamma: float = GAMMA,
    offline_a: float = OFFLINE_A,
) -> np.ndarray:
    """Robust membership inference: share of population samples z that the target prefers the sample to.

    The score of x is the share of z with [p(x | target) / p(x)] / [p(z | target) / p(z)] >= gamma, where p(x | model)
    is the probability of the given answer, exp(-loss). Online, p(x) is the mean of two means: over the other models
    trained with x, and over those without; p(z) is the mean over all others, none of which saw z. Offline only models
    without the sample count, and both means are corrected: ((1 + a) p_out + 1 - a) / 2. All in log space; the ratios of
    z are sorted once, so that no pair is ever looked at: (N + Z) log Z steps.

    Args:
        losses: [S, N], answer loss of every model on every sample, nats.
        population_losses: [S, Z], on samples that no model was trained on, such as the test set.
        in_train: bool [S, N].
        target: row of the audited model.
        online: whether models trained with a sample count.
        gamma: least likelihood ratio, above 0.
        offline_a: correction of the offline attack, 0 to 1: how far p_in follows p_out.

    Returns:
        float64 [N] in [0, 1]; nan outside the target's train set, and where no other model was trained without the
        sample (online: or none with it). Scores tie where samples beat the same part of the population.

    Raises:
        ValueError: as `lira.log_lira`; population losses of other shape or not finite, or none; gamma or a out of range.

    Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024,
    arXiv 2312.03262, section 3.
    """
    if not gamma > 0 or not 0 <= offline_a <= 1:
        raise ValueError(
            f"gamma is {gamma} and offline_a {offline_a}: give gamma > 0 and offline_a from 0 to 1."
        )
    population = np.asarray(population_losses)
    if population.shape[:1] != (n_models := len(np.asarray(losses)),):
        raise _refused(population, n_models)
    ratios = population_ratios(population, target, online=online, offline_a=offline_a)
    return share_beaten(losses, ratios, in_train, target, online=online, gamma=gamma, offline_a=offline_a)


def share_beaten(
    losses: ArrayLike,
    ratios: np.ndarray,
    in_train: ArrayLike,
    target: int,
    *,
    online: bool = True,
    gamma: float = GAMMA,
    offline_a: float = OFFLINE_A,
) -> np.ndarray:
    """RMIA of some of the samples, the population's ratios being known.

    Args:
        losses: [S, N], of these samples.
        ratios: float64 [Z], of `population_ratios` with the same target, `online` and `offline_a`.
        in_train: bool [S, N], of these samples.
        target: row of the audited model.
        online: as in `rmia`.
        gamma: as in `rmia`.
        offline_a: as in `rmia`.

    Returns:
        As `rmia`.

    Raises:
        ValueError: as `lira.log_lira`.
    """
    shadow = others_on_trained(losses, in_train, target, name="losses")
    log_p = _log_mean_probability(shadow.values, ~shadow.in_train)
    with np.errstate(invalid="ignore"):  # nan: no model on one side
        if online:
            log_p = np.logaddexp(log_p, _log_mean_probability(shadow.values, shadow.in_train)) - np.log(2)
        else:
            log_p = _corrected(log_p, offline_a)
    beaten = np.searchsorted(ratios, -shadow.own - log_p - np.log(gamma), side="right")
    return shadow.spread(np.where(np.isnan(log_p), np.nan, beaten / len(ratios)))


def population_ratios(
    population_losses: ArrayLike, target: int, *, online: bool = True, offline_a: float = OFFLINE_A
) -> np.ndarray:
    """Log of p(z | target) / p(z) of every population sample z, rising: what `rmia` compares samples with.

    Args:
        population_losses: [S, Z], on samples that no model was trained on.
        target: row of the audited model.
        online: as in `rmia`.
        offline_a: as in `rmia`, 0 to 1.

    Returns:
        float64 [Z].

    Raises:
        ValueError: losses of another shape, not finite, or none.
    """
    values = np.asarray(population_losses)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise _refused(values, len(values))
    n_models, n = values.shape
    found = np.empty(n)
    for part in sample_blocks(n_models, n):
        outside = values[:, part].astype(np.float64)
        log_p = logsumexp(-np.delete(outside, target, axis=0), axis=0) - np.log(n_models - 1)
        found[part] = -outside[target] - (log_p if online else _corrected(log_p, offline_a))
    return np.sort(found)


def _refused(values: np.ndarray, n_models: int) -> ValueError:
    return ValueError(
        f"population_losses have shape {values.shape}: give finite losses [{n_models} models, samples that no model was "
        "trained on], at least one sample."
    )


def _log_mean_probability(losses: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Log of the mean of exp(-loss) [N] over a group of models; nan where the group is empty."""
    count = member.sum(axis=0)
    total = logsumexp(np.where(member, -losses, -np.inf), axis=0)
    return np.where(count > 0, total - np.log(np.maximum(count, 1)), np.nan)


def _corrected(log_p_out: np.ndarray, a: float) -> np.ndarray:
    """Log of ((1 + a) p_out + 1 - a) / 2: p estimated without models trained with the sample."""
    added = np.log1p(-a) if a < 1 else -np.inf
    return np.logaddexp(np.log1p(a) + log_p_out, added) - np.log(2)
