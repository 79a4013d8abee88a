"""Predictors read off the course of training: no extra compute beyond the logits and losses of each checkpoint.

Here belong scores of one model's samples over its checkpoints. Every function returns the score *up to* each checkpoint,
[E, N]: row e uses rows 0..e of its input and nothing later, so one call gives the predictor at every epoch. Checkpoints
count equally, however far apart they lie; whether the base model (epoch 0) is among them is the caller's choice.

Logits are [E, N, C] in chronological order, options a sample does not have filled with -inf (or -1000); labels are the
index of the *given* label. All functions raise ValueError on shapes that disagree, values that are not finite, or labels
outside the options.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from memo_assets.measures.lira import logit_gap


def el2n(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """EL2N: Euclidean length of (option probabilities - one-hot label), averaged over the checkpoints so far.

    The authors average over several short runs; in one run, checkpoints stand in for them.

    Args:
        logits: [E, N, C].
        labels: int [N].

    Returns:
        float64 [E, N] in [0, sqrt(2)]; high means hard, at risk.

    Raises:
        ValueError: see the module.

    Source: Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021, arXiv 2107.07075, definition 2.3.
    """
    others, given = _probabilities(logits, labels)
    others[:, np.arange(len(given)), given] = 0.0
    # 1 - p(label) as the sum of the others: keeps its digits where the label is all but certain.
    error = np.sqrt((others**2).sum(axis=-1) + others.sum(axis=-1) ** 2)
    return _running_mean(error)


def aum(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """AUM, area under the margin: logit gap averaged over the checkpoints so far.

    Args:
        logits: [E, N, C].
        labels: int [N].

    Returns:
        float64 [E, N]; low (negative) means mislabelled or atypical, at risk.

    Raises:
        ValueError: see the module.

    Source: Pleiss, Zhang, Elenberg, Weinberger, NeurIPS 2020, arXiv 2001.10528, section 3.
    """
    return _running_mean(_gaps(logits, labels))


def forgetting(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Forgetting events: how often a sample went from right to wrong between two checkpoints so far.

    Right means that the label's logit is above all others (a tie is wrong). Samples never right so far have no event to
    count; the authors rank them as forgotten without end. Here they get the number of checkpoints so far, more than
    any sample can have been forgotten.

    Args:
        logits: [E, N, C].
        labels: int [N].

    Returns:
        int64 [E, N]; high means at risk.

    Raises:
        ValueError: see the module.

    Source: Toneva et al., "An Empirical Study of Example Forgetting", ICLR 2019, arXiv 1812.05159, section 3.
    """
    right = _gaps(logits, labels) > 0
    events = np.zeros(right.shape, dtype=np.int64)
    np.cumsum(right[:-1] & ~right[1:], axis=0, out=events[1:])
    return np.where(np.logical_or.accumulate(right), events, _so_far(right))


def cartography(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Data map: mean (confidence) and standard deviation (variability) of the given label's probability so far.

    The probability is the softmax over the sample's options; the standard deviation is that of the population, 0 at
    the first checkpoint.

    Args:
        logits: [E, N, C].
        labels: int [N].

    Returns:
        (mean, sd), float64 [E, N] each; low mean means hard to learn, high sd ambiguous.

    Raises:
        ValueError: see the module.

    Source: Swayamdipta et al., "Dataset Cartography", EMNLP 2020, arXiv 2009.10795, section 2.
    """
    probabilities, given = _probabilities(logits, labels)
    of_label = probabilities[:, np.arange(len(given)), given]
    mean, n = _running_mean(of_label), _so_far(of_label)
    # Welford's update as a cumulative sum: nothing is subtracted that could cancel.
    steps = np.zeros_like(of_label)
    steps[1:] = (of_label[1:] - mean[:-1]) ** 2 * ((n[1:] - 1) / n[1:])
    return mean, np.sqrt(np.cumsum(steps, axis=0) / n)


def cumulative_loss(losses: ArrayLike) -> np.ndarray:
    """Cumulative sample loss (CSL): sum of the sample's losses at the checkpoints so far.

    Args:
        losses: [E, N].

    Returns:
        float64 [E, N], in the losses' unit; high means at risk.

    Raises:
        ValueError: see the module.

    Source: Ravikumar et al., "Towards Memorization Estimation: Fast, Formal and Free", ICML 2025.
    """
    return np.cumsum(_losses(losses), axis=0)


def lt_iqr(losses: ArrayLike) -> np.ndarray:
    """LT-IQR: interquartile range (75 % minus 25 % quantile) of the sample's losses at the checkpoints so far.

    Quantiles are linear between neighbours; at the first checkpoint the range is 0.

    Args:
        losses: [E, N].

    Returns:
        float64 [E, N], in the losses' unit; high means at risk.

    Raises:
        ValueError: see the module.

    Source: Pollock, Shilov, Dodd, de Montjoye, "Free Record-Level Privacy Risk Evaluation Through Artifact-Based
    Methods", 2024, arXiv 2411.05743.
    """
    values = _losses(losses)
    ranges = np.empty_like(values)
    for last in range(len(values)):
        ordered = np.sort(values[: last + 1], axis=0)
        ranges[last] = _quantile(ordered, 0.75) - _quantile(ordered, 0.25)
    return ranges


def calibrated_loss(losses: ArrayLike) -> np.ndarray:
    """Loss minus the base model's loss on the same sample: what training changed, free of the sample's difficulty.

    Args:
        losses: [E, N], row 0 being the base model (epoch 0).

    Returns:
        float64 [E, N], in the losses' unit; the first row is 0, negative means learned.

    Raises:
        ValueError: see the module.

    Source: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks", ICLR 2022,
    arXiv 2111.08440, with the base model as the reference.
    """
    values = _losses(losses)
    return values - values[0]


def _gaps(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Logit gaps [E, N] in float64, after checking that there are checkpoints."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 3 or not len(values):
        raise ValueError(
            f"logits have shape {values.shape}: give [checkpoints, samples, options], at least one checkpoint."
        )
    return logit_gap(values, labels)


def _probabilities(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Softmax over the options [E, N, C], and the labels as an array."""
    _gaps(logits, labels)  # for its checks
    values = np.asarray(logits, dtype=np.float64)
    odds = np.exp(values - values.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True), np.asarray(labels)


def _losses(losses: ArrayLike) -> np.ndarray:
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(
            f"losses have shape {values.shape}: give [checkpoints, samples], at least one checkpoint."
        )
    if not np.isfinite(values).all():
        checkpoint, sample = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"The loss of sample {sample} at checkpoint {checkpoint} is {values[checkpoint, sample]}: all must be finite."
        )
    return values


def _so_far(values: np.ndarray) -> np.ndarray:
    """Number of checkpoints up to each row, as a column."""
    return np.arange(1, len(values) + 1)[:, None]


def _running_mean(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values, axis=0) / _so_far(values)


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile over the rows of a column-sorted array."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
