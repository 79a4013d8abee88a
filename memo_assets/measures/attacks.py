"""Membership attacks on one target model, side by side: LiRA online and offline, with own or pooled variance, and RMIA.

Here belong attacks that need no more than the outputs of the shadow models, and the table of all attacks by name. Online
LiRA, its leave-one-out form, and the Gaussians that all LiRAs share are in `lira.py`. Every score is high for memorized
samples and nan where the other models do not say enough: each function states how many it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, logsumexp

from memo_assets.measures.lira import both_moments, log_lira, log_lira_loo, log_ratio
from memo_assets.measures.shadows import OthersOnTrained, others_on_trained, shadow_arrays

GAMMA = 2.0
"""Least likelihood ratio by which RMIA counts a population sample as beaten."""

OFFLINE_A = 0.3
"""How far RMIA without models trained on the sample lets their probability follow the others'."""


def log_lira_offline(
    gaps: ArrayLike, in_train: ArrayLike, target: int, *, fixed_variance: bool = False
) -> np.ndarray:
    """Offline LiRA of one target model: -log Pr[Z > gap] with Z ~ N(mu_out, sd_out).

    Only the *other* models trained without the sample count: shadow models need not have seen the audited samples.
    Monotone in the published one-sided score 1 - Pr[Z > gap], and does not saturate where that reaches 1.

    Args:
        gaps: [S, N], logit gap of every model on every sample.
        in_train: bool [S, N], whether the model was trained on the sample.
        target: row of the audited model, 0 .. S - 1.
        fixed_variance: one standard deviation for all samples (as in `log_lira_fixed_variance`) instead of one each.

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
        sd = _pooled_sds(gaps, in_train, target)[1]
    return shadow.spread(-log_ndtr((mean - shadow.own) / np.where(sd > 0, sd, np.nan)))


def log_lira_fixed_variance(gaps: ArrayLike, in_train: ArrayLike, target: int) -> np.ndarray:
    """Online LiRA with one standard deviation for all samples in, and one for all samples out.

    Means are those of each sample. The two standard deviations (unbiased) are taken over all gaps in, and all gaps out,
    of the other models on all samples, not centred per sample, as published. Steadier where a sample has few models.

    Args:
        gaps: [S, N].
        in_train: bool [S, N].
        target: row of the audited model.

    Returns:
        float64 [N] in nats; nan outside the target's train set, and where no other model was trained with the sample, or
        none without it.

    Raises:
        ValueError: as `lira.log_lira`.

    Source: Carlini et al., IEEE S&P 2022, arXiv 2112.03570, section VI (variance over all samples).
    """
    shadow = others_on_trained(gaps, in_train, target)
    sd_in, sd_out = _pooled_sds(gaps, in_train, target)
    inside, outside = _moments(shadow, shadow.in_train)[0], _moments(shadow, ~shadow.in_train)[0]
    return shadow.spread(log_ratio(shadow.own, (inside, sd_in), (outside, sd_out)))


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
    shadow = others_on_trained(losses, in_train, target, name="losses")
    outside = np.asarray(population_losses, dtype=np.float64)
    n_models = len(shadow.values) + 1
    if (
        outside.ndim != 2
        or len(outside) != n_models
        or not outside.shape[1]
        or not np.isfinite(outside).all()
    ):
        raise ValueError(
            f"population_losses have shape {outside.shape}: give finite losses [{n_models} models, samples that no "
            "model was trained on], at least one sample."
        )
    log_p = _log_mean_probability(shadow.values, ~shadow.in_train)
    log_p_z = logsumexp(-np.delete(outside, target, axis=0), axis=0) - np.log(n_models - 1)
    with np.errstate(invalid="ignore"):  # nan: no model on one side
        if online:
            log_p = np.logaddexp(log_p, _log_mean_probability(shadow.values, shadow.in_train)) - np.log(2)
        else:
            log_p, log_p_z = _corrected(log_p, offline_a), _corrected(log_p_z, offline_a)
    log_ratio_z = np.sort(-outside[target] - log_p_z)
    beaten = np.searchsorted(log_ratio_z, -shadow.own - log_p - np.log(gamma), side="right")
    return shadow.spread(np.where(np.isnan(log_p), np.nan, beaten / len(log_ratio_z)))


@dataclass(frozen=True)
class Outputs:
    """What attacks read: outputs of all models at one checkpoint.

    Attributes:
        gaps: float64 [S, N], logit gaps.
        losses: float64 [S, N], nats.
        population_losses: float64 [S, Z], losses on samples that no model was trained on.
        in_train: bool [S, N], whether the model was trained on the sample.
        query_gaps: float64 [S, N, A], logit gaps on augmented queries, which leave-one-out LiRA averages over; None where
            the sample itself is the one query.
    """

    gaps: np.ndarray
    losses: np.ndarray
    population_losses: np.ndarray
    in_train: np.ndarray
    query_gaps: np.ndarray | None = None

    def of_models(self, rows: np.ndarray) -> Outputs:
        """The outputs of some models, in the order given."""
        return Outputs(
            self.gaps[rows],
            self.losses[rows],
            self.population_losses[rows],
            self.in_train[rows],
            None if self.query_gaps is None else self.query_gaps[rows],
        )

    @cached_property
    def loo(self) -> np.ndarray:
        """float64 [N, S], leave-one-out log-LiRA of every model on every sample: one pass serves all targets."""
        queries = self.gaps[:, :, None] if self.query_gaps is None else self.query_gaps
        return log_lira_loo(queries.swapaxes(0, 1), self.in_train.T)


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        score: from outputs and the target's row to scores [N], high: memorized; nan outside the target's train set.
        without_evidence: the score where all models have the same gap, as before training; None if that needs no rule.
        meaning: one sentence.
    """

    score: Callable[[Outputs, int], np.ndarray]
    without_evidence: float | None
    meaning: str

    def scores(self, outputs: Outputs, target: int) -> np.ndarray:
        """Scores [N] of the target's training samples, nan elsewhere.

        Args:
            outputs: of all models that may be looked at, the target among them.
            target: the target's row there.
        """
        found = self.score(outputs, target)
        if self.without_evidence is not None:
            alike = outputs.in_train[target] & (np.ptp(outputs.gaps, axis=0) == 0)
            found[alike] = self.without_evidence
        return found


def _loo_of(outputs: Outputs, target: int) -> np.ndarray:
    return np.where(outputs.in_train[target], outputs.loo[:, target], np.nan)


ATTACKS: dict[str, Attack] = {
    "online_lira": Attack(
        lambda o, t: log_lira(o.gaps, o.in_train, t),
        0.0,
        "Log-LiRA: models with the sample against models without it.",
    ),
    "online_lira_fixed_variance": Attack(
        lambda o, t: log_lira_fixed_variance(o.gaps, o.in_train, t),
        0.0,
        "Log-LiRA with one variance for all samples.",
    ),
    "offline_lira": Attack(
        lambda o, t: log_lira_offline(o.gaps, o.in_train, t),
        np.log(2),
        "LiRA by models without the sample alone.",
    ),
    "offline_lira_fixed_variance": Attack(
        lambda o, t: log_lira_offline(o.gaps, o.in_train, t, fixed_variance=True),
        np.log(2),
        "The same with one variance for all samples.",
    ),
    "rmia": Attack(
        lambda o, t: rmia(o.losses, o.population_losses, o.in_train, t),
        None,
        "RMIA: share of the test samples that the sample beats in likelihood ratio.",
    ),
    "offline_rmia": Attack(
        lambda o, t: rmia(o.losses, o.population_losses, o.in_train, t, online=False),
        None,
        "RMIA by models without the sample alone.",
    ),
    "loo_lira": Attack(
        _loo_of, 0.0, "Log-LiRA, leave one out, averaged over augmented queries, with unbiased variance."
    ),
}
"""All attacks by name; what they read are the same logits, losses and split masks."""


def _moments(shadow: OthersOnTrained, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population sd [n] over a group of models; both nan where it is empty."""
    mean, sd = both_moments(shadow.values, side)[1]
    some = side.any(axis=0)
    return np.where(some, mean, np.nan), np.where(some, sd, np.nan)


def _pooled_sds(gaps: ArrayLike, in_train: ArrayLike, target: int) -> tuple[float, float]:
    """Unbiased sd of all gaps in, and of all gaps out, of the models other than the target; nan below two gaps."""
    values, member = shadow_arrays(gaps, in_train, name="gaps")
    values, member = np.delete(values, target, axis=0).astype(np.float64), np.delete(member, target, axis=0)
    inside, outside = (values[side] for side in (member, ~member))
    sd_in, sd_out = (float(pool.std(ddof=1)) if pool.size > 1 else np.nan for pool in (inside, outside))
    return sd_in, sd_out


def _log_mean_probability(losses: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Log of the mean of exp(-loss) [N] over a group of models; nan where the group is empty."""
    count = member.sum(axis=0)
    total = logsumexp(np.where(member, -losses, -np.inf), axis=0)
    return np.where(count > 0, total - np.log(np.maximum(count, 1)), np.nan)


def _corrected(log_p_out: np.ndarray, a: float) -> np.ndarray:
    """Log of ((1 + a) p_out + 1 - a) / 2: p estimated without models trained with the sample."""
    added = np.log1p(-a) if a < 1 else -np.inf
    return np.logaddexp(np.log1p(a) + log_p_out, added) - np.log(2)
