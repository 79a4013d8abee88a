"""Likelihood-ratio attack (LiRA): how strongly a model's score on a sample tells that it was trained on it.

Here belong the logit gap, the Gaussians fitted to the shadow models trained with a sample (in) and without it (out),
and the log-ratios of one target model. Averages over all shadow models are in `population.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from memo_assets.measures.shadows import shadow_arrays, trained_samples

PADDING = -1000.0
"""Logits at or below this (so -inf too) mark options that a sample does not have."""

_NO_SHADOW_MEAN, _NO_SHADOW_SD = 0.0, 0.1


def logit_gap(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Logit of the given label minus the largest logit of the other options (the hinge score).

    Where samples have fewer options than C, fill up with -inf or -1000 (`PADDING`).

    Args:
        logits: [..., N, C], one logit per option.
        labels: int [N], index of the given label.

    Returns:
        [..., N], finite, in the logits' own precision (half precision becomes float32, whole numbers float64).

    Raises:
        ValueError: on shapes that disagree, labels outside the options or on padding, a sample with a single option,
            or logits that are nan or +inf.

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858; Carlini et al., IEEE S&P 2022, arXiv 2112.03570, section VI.
    """
    values = np.asarray(logits)
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    given = np.asarray(labels)
    if values.ndim < 2 or given.shape != values.shape[-2:-1]:
        raise ValueError(
            f"logits have shape {values.shape} and labels {given.shape}: give logits [..., N, C] and labels [N]."
        )
    from memo_assets.measures import lira_loops as loops

    n_samples, n_options = values.shape[-2:]
    if given.dtype.kind not in "iu":
        raise ValueError(
            f"labels hold {given.dtype}: give the index of each sample's label among its options."
        )
    outside = (given < 0) | (given >= n_options)
    if outside.any():
        sample = int(np.argmax(outside))
        raise ValueError(
            f"Sample {sample} has label {given[sample]} ({outside.sum()} such samples): "
            f"a label is an index from 0 to {n_options - 1}."
        )
    found = np.empty(values.shape[:-1], values.dtype)
    if n_options < 2 or not loops.gaps(
        values.reshape(-1, n_samples, n_options),
        given.astype(np.intp, copy=False),
        PADDING,
        found.reshape(-1, n_samples),
    ):
        _refuse_gaps(values, given)
    return found


def _refuse_gaps(values: np.ndarray, given: np.ndarray) -> None:
    """Name the first sample whose label or best other option has no usable logit."""
    own = values[..., np.arange(len(given)), given]
    others = np.where(np.arange(values.shape[-1]) == given[:, None], -np.inf, values)
    other = others.max(axis=-1)
    usable = (own > PADDING) & (own < np.inf) & (other > PADDING) & (other < np.inf)
    first = tuple(int(i) for i in np.argwhere(~usable)[0])
    raise ValueError(
        f"No logit gap for sample {first[-1]} (label's logit {own[first]}, best other {other[first]}; "
        f"{np.count_nonzero(~usable)} such gaps): the label and at least one other option need finite logits above "
        f"{PADDING:g}, and no logit may be nan or +inf."
    )


def log_lira(gaps: ArrayLike, in_train: ArrayLike, target: int) -> np.ndarray:
    """Local log-LiRA of one target model: log N(gap; mu_in, sd_in) - log N(gap; mu_out, sd_out).

    In and out are the *other* models trained with and without the sample; sd is the population standard deviation. A
    group without any model counts as mean 0 and sd 0.1, as published. A group without spread (a single model, or
    equal gaps) has no density: the score is nan. All is computed in log space and not clipped.

    Args:
        gaps: [S, N], logit gap of every model on every sample.
        in_train: bool [S, N], whether the model was trained on the sample.
        target: row of the audited model, 0 .. S - 1.

    Returns:
        float64 [N] in nats; nan outside the target's train set (and without spread, see above). High: memorized.

    Raises:
        ValueError: on shapes that disagree, a mask that is not boolean, gaps that are not finite, fewer than two models,
            a target out of range, or one that was trained on no sample.

    Source: Carlini et al., IEEE S&P 2022, arXiv 2112.03570, algorithm 1 (online); Dentan et al., ECAI 2025.
    """
    values, member = shadow_arrays(gaps, in_train, name="gaps")
    trained = trained_samples(member, target)
    outside, inside = both_moments(values, member, left_out=target)
    ratio = log_ratio(values[target].astype(np.float64), inside, outside)
    return np.where(trained, ratio, np.nan)


def log_lira_loo(
    scores: ArrayLike,
    in_train: ArrayLike,
    *,
    fixed_variance: bool = False,
    models: Sequence[int] | None = None,
) -> np.ndarray:
    """Log-LiRA of every model against all others (leave one out), averaged over augmented queries.

    Standard deviations are unbiased (n - 1). Moments without a model are merged from those before and after it, never
    subtracted, so an extreme model does not spoil the others' moments.

    Args:
        scores: [N, S, A], score (logit gap) of every model on every augmented query of every sample.
        in_train: bool [N, S].
        fixed_variance: one standard deviation for in and one for out, over all samples and queries of the other models
            (scores not centred per sample), instead of one per sample; steadier with few shadow models.
        models: rows of the models to score, no row twice; all by default.

    Returns:
        float64 [N, S], or [N, models], in nats, for members and non-members. nan where the other models leave a group empty, and (with
        per-sample variance) where they leave it a single model or no spread.

    Raises:
        ValueError: on shapes that disagree, a mask that is not boolean, scores that are not finite, or fewer than two models.

    Source: Carlini et al., IEEE S&P 2022, arXiv 2112.03570, sections V-VI; leave-one-out over models with canaries:
    Aerni, Zhang, Tramer, CCS 2024, arXiv 2404.17399.
    """
    values, member = shadow_arrays(scores, in_train, name="scores", model_axis=1)
    if values.ndim != 3 or not values.shape[2]:
        raise ValueError(
            f"scores have shape {values.shape}: give [samples, models, queries], at least one query."
        )
    from memo_assets.measures import lira_loops as loops

    fixed_sd = np.empty((2, 0))
    if fixed_variance:
        by_model = values.swapaxes(0, 1)
        fixed_sd = np.stack([pooled_sds(by_model, side.T) for side in (~member, member)])
    wanted = np.arange(member.shape[1]) if models is None else np.asarray(models)
    place = np.full(member.shape[1], -1)
    place[wanted] = np.arange(len(wanted))
    found = np.empty((len(member), len(wanted)))
    loops.leave_one_out(values, member, fixed_sd, place, found)
    return found


def both_moments(
    scores: np.ndarray, member: np.ndarray, *, left_out: int = -1
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Mean and population standard deviation of each sample's scores over the models outside and inside of a group.

    Args:
        scores: [S, N].
        member: bool [S, N], the group; where one side is empty its mean counts as 0 and its sd as 0.1, as published.
        left_out: row that counts on neither side; -1 if all count.

    Returns:
        ((mean [N], sd [N]) outside, the same inside), float64; an sd is exactly 0 where all scores of a side are equal.
    """
    count, mean, sd = side_moments(scores, member, left_out=left_out)
    mean[count == 0], sd[count == 0] = _NO_SHADOW_MEAN, _NO_SHADOW_SD
    return (mean[0], sd[0]), (mean[1], sd[1])


def side_moments(
    scores: np.ndarray, member: np.ndarray, *, left_out: int = -1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean and population standard deviation of each sample's scores outside (row 0) and inside (row 1) of a group.

    Args:
        scores: [S, N].
        member: bool [S, N], the group.
        left_out: row that counts on neither side; -1 if all count.

    Returns:
        (number int64, mean float64, sd float64), each [2, N]; mean and sd of an empty side are 0, and an sd is exactly 0
        where all scores of a side are equal.
    """
    from memo_assets.measures import lira_loops as loops

    count = np.empty((2, scores.shape[1]), np.int64)
    mean, sd = found = np.empty((2, *count.shape))
    loops.moments(scores, member, left_out, count, found)
    return count, mean, sd


def log_ratio(
    scores: np.ndarray,
    inside: tuple[np.ndarray, np.ndarray | float],
    outside: tuple[np.ndarray, np.ndarray | float],
) -> np.ndarray:
    """Log-ratio of two normal densities: log N(score; in) - log N(score; out).

    Args:
        scores: any shape.
        inside: (mean, sd) of the in models, broadcast against the scores.
        outside: (mean, sd) of the out models.

    Returns:
        Log-ratio in nats; nan where an sd is 0 or nan (no density).
    """
    return _log_density(scores, *inside) - _log_density(scores, *outside)


def _log_density(scores: np.ndarray, mean: np.ndarray, sd: np.ndarray | float) -> np.ndarray:
    """Log of the normal density but for its constant, which a ratio does not need."""
    spread = np.where(sd > 0, sd, np.nan)
    return -np.log(spread) - 0.5 * ((scores - mean) / spread) ** 2


def pooled_sds(by_model: np.ndarray, member: np.ndarray) -> np.ndarray:
    """For each model, the standard deviation of a group of scores of all other models, over all samples.

    Args:
        by_model: [S, N, ...].
        member: bool [S, N], the group.

    Returns:
        float64 [S], unbiased; nan below two scores.
    """
    moments = []
    for of_model, inside in zip(by_model, member, strict=True):
        scores = of_model[inside].astype(np.float64)
        mean = scores.mean() if scores.size else 0.0
        moments.append(
            _Moments(np.array(float(scores.size)), np.array(mean), np.array(((scores - mean) ** 2).sum()))
        )
    return np.array([others.sd() for others in _leave_one_out(moments)])


@dataclass(frozen=True)
class _Moments:
    """Count, mean and sum of squared deviations of a set of scores."""

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    def merge(self, other: _Moments) -> _Moments:
        """Moments of the union (Chan, Golub, LeVeque 1979)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        apart = other.mean - self.mean
        return _Moments(
            count, self.mean + apart * share, self.squares + other.squares + apart**2 * (self.count * share)
        )

    def sd(self) -> np.ndarray:
        """Unbiased standard deviation, nan below two scores."""
        return np.sqrt(self.squares / np.where(self.count > 1, self.count - 1, np.nan))


def _leave_one_out(moments: list[_Moments]) -> list[_Moments]:
    """Merge, for each model, the moments of all others: those before it with those after it."""
    nothing = np.zeros_like(moments[0].mean)
    running = _Moments(nothing, nothing, nothing)
    before = []
    for of_model in moments:
        before.append(running)
        running = running.merge(of_model)
    after, others = _Moments(nothing, nothing, nothing), []
    for of_model, earlier in zip(reversed(moments), reversed(before), strict=True):
        others.append(earlier.merge(after))
        after = of_model.merge(after)
    return others[::-1]
