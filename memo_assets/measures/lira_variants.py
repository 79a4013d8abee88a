"""LiRA by other Gaussians: of the models without the sample alone, or with one variance for all samples.

Online LiRA, its leave-one-out form, and the Gaussians that all LiRAs share are in `lira.py`. Every score is high for
memorized samples and nan where the other models do not say enough: each function states how many it needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from memo_assets.measures.lira import both_moments, log_ratio, pooled_sds
from memo_assets.measures.shadows import OthersOnTrained, others_on_trained, shadow_arrays


def log_lira_offline(
    gaps: ArrayLike,
    in_train: ArrayLike,
    target: int,
    *,
    fixed_variance: bool = False,
    sds: tuple[float, float] | None = None,
) -> np.ndarray:
    """Offline LiRA of one target model: -log Pr[Z > gap] with Z ~ N(mu_out, sd_out).

    Only the *other* models trained without the sample count: shadow models need not have seen the audited samples.
    Monotone in the published one-sided score 1 - Pr[Z > gap], and does not saturate where that reaches 1.

    Args:
        gaps: [S, N], logit gap of every model on every sample.
        in_train: bool [S, N], whether the model was trained on the sample.
        target: row of the audited model, 0 .. S - 1.
        fixed_variance: one standard deviation for all samples (as in `log_lira_fixed_variance`) instead of one each.
        sds: as in `log_lira_fixed_variance`; read with fixed variance alone.

    Returns:
        float64 [N] in nats, at least 0 (log 2 at the mean of the out models); nan outside the target's train set, and
        where no other model was trained without the sample; with a standard deviation per sample also where a single
        one was, or all of them have the same gap.

    Raises:
        ValueError: as `lira.log_lira`.

    Source: Carlini et al., IEEE S&P 2022, arXiv 2112.03570, section V-A (offline attack).
    """
    shadow = others_on_trained(gaps, in_train, target)
    mean, sd = _moments(shadow, ~shadow.in_train)
    if fixed_variance:
        sd = np.asarray(sds[1] if sds else sds_of_others(gaps, in_train)[1][target])
    return shadow.spread(-log_ndtr((mean - shadow.own) / np.where(sd > 0, sd, np.nan)))


def log_lira_fixed_variance(
    gaps: ArrayLike, in_train: ArrayLike, target: int, *, sds: tuple[float, float] | None = None
) -> np.ndarray:
    """Online LiRA with one standard deviation for all samples in, and one for all samples out.

    Means are those of each sample. The two standard deviations (unbiased) are taken over all gaps in, and all gaps out,
    of the other models on all samples, not centred per sample, as published. Steadier where a sample has few models.

    Args:
        gaps: [S, N].
        in_train: bool [S, N].
        target: row of the audited model.
        sds: the two standard deviations (in, out), where these samples are some of those that they are taken over; by
            default `sds_of_others` of the gaps given.

    Returns:
        float64 [N] in nats; nan outside the target's train set, and where no other model was trained with the sample, or
        none without it.

    Raises:
        ValueError: as `lira.log_lira`.

    Source: Carlini et al., IEEE S&P 2022, arXiv 2112.03570, section VI (variance over all samples).
    """
    shadow = others_on_trained(gaps, in_train, target)
    sd_in, sd_out = sds or (float(sd[target]) for sd in sds_of_others(gaps, in_train))
    inside, outside = _moments(shadow, shadow.in_train)[0], _moments(shadow, ~shadow.in_train)[0]
    return shadow.spread(log_ratio(shadow.own, (inside, sd_in), (outside, sd_out)))


def sds_of_others(gaps: ArrayLike, in_train: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """For each model, the standard deviation (unbiased) of all gaps in, and of all gaps out, of the other models.

    Args:
        gaps: [S, N].
        in_train: bool [S, N].

    Returns:
        (in, out), float64 [S] each; nan below two gaps.

    Raises:
        ValueError: as `shadows.shadow_arrays`.
    """
    values, member = shadow_arrays(gaps, in_train, name="gaps")
    return pooled_sds(values, member), pooled_sds(values, ~member)


def _moments(shadow: OthersOnTrained, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population sd [n] over a group of models; both nan where it is empty."""
    mean, sd = both_moments(shadow.values, side)[1]
    some = side.any(axis=0)
    return np.where(some, mean, np.nan), np.where(some, sd, np.nan)
