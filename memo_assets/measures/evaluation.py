"""How well a predictor score finds the memorized samples, and when to read it.

Here belong the memorization labels drawn from log-LiRA scores, ROC figures against them, and the rule for the prediction
epoch. Where the scores come from belongs to the other measures.

Scores that are nan or infinite cannot be placed on a curve and are left out before anything is counted, as in the
published evaluation; `Evaluation.n` says how many were kept. The published one also dropped them before taking the
quantile of the labels: to follow it, give `memorized_labels` the kept samples only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A predictor score judged against memorization labels. Rates and areas lie in [0, 1].

    Attributes:
        auc: area under the ROC curve; ties count one half.
        fpr_at_tpr: false positive rate at the first point of the curve whose TPR is above the objective.
        threshold_at_tpr: score at that point, in the score's own units: at least as risky is flagged.
        tpr_at_fpr_001: highest true positive rate at a false positive rate of at most 0.1 %.
        tpr_at_fpr_01: the same at 1 %.
        n: samples judged, those with a finite score.
        n_memorized: how many of them are memorized.
    """

    auc: float
    fpr_at_tpr: float
    threshold_at_tpr: float
    tpr_at_fpr_001: float
    tpr_at_fpr_01: float
    n: int
    n_memorized: int


def evaluate(
    score: ArrayLike, memorized: ArrayLike, *, higher_is_riskier: bool, tpr: float = 0.75
) -> Evaluation:
    """Judge a predictor score by the ROC figures of the published study.

    Args:
        score: [N]; samples with a nan or infinite score are left out.
        memorized: bool [N], the labels.
        higher_is_riskier: True for the loss; False for PSMI and the logit gap, where low scores are at risk.
        tpr: objective in [0, 1); the curve's first point *above* it is read.

    Returns:
        Evaluation.

    Raises:
        ValueError: on shapes that disagree, labels that are not boolean, memorized all True or all False among the
            finite scores, or an objective outside [0, 1).

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858; TPR at low FPR: Carlini et al., IEEE S&P 2022.
    """
    if not 0 <= tpr < 1:
        raise ValueError(f"tpr is {tpr}: give a true positive rate from 0 to below 1.")
    true_pos, false_pos, thresholds = _curve(score, memorized, higher_is_riskier=higher_is_riskier)
    n_memorized, n_safe = int(true_pos[-1]), int(false_pos[-1])
    tprs, fprs = true_pos / n_memorized, false_pos / n_safe
    # Whole numbers to the end: twice the area in units of one memorized-safe pair.
    double_area = int(np.diff(false_pos) @ (true_pos[1:] + true_pos[:-1]))
    first = int(np.searchsorted(tprs, tpr, side="right"))
    return Evaluation(
        auc=double_area / (2 * n_memorized * n_safe),
        fpr_at_tpr=float(fprs[first]),
        threshold_at_tpr=float(thresholds[first]),
        tpr_at_fpr_001=float(tprs[np.searchsorted(fprs, 0.001, side="right") - 1]),
        tpr_at_fpr_01=float(tprs[np.searchsorted(fprs, 0.01, side="right") - 1]),
        n=n_memorized + n_safe,
        n_memorized=n_memorized,
    )


def roc(
    score: ArrayLike, memorized: ArrayLike, *, higher_is_riskier: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ROC curve with one point for each distinct score, after the origin.

    Args:
        score: [N]; samples with a nan or infinite score are left out.
        memorized: bool [N].
        higher_is_riskier: see `evaluate`.

    Returns:
        (fpr, tpr, threshold), float64 [points], the riskiest threshold first, in the score's own units. A point flags
        the scores at least as risky as its threshold; the first flags none, its threshold is inf (or -inf).

    Raises:
        ValueError: as `evaluate`.
    """
    true_pos, false_pos, thresholds = _curve(score, memorized, higher_is_riskier=higher_is_riskier)
    return false_pos / false_pos[-1], true_pos / true_pos[-1], thresholds


def precision_at_k(score: ArrayLike, memorized: ArrayLike, k: int, *, higher_is_riskier: bool) -> float:
    """Share of memorized samples among the k riskiest.

    Samples tied at the last place share the places left: the result is the expectation over all ways to break the tie,
    and does not depend on the order of samples.

    Args:
        score: [N]; samples with a nan or infinite score are left out.
        memorized: bool [N]; may be all True or all False.
        k: 1 .. number of finite scores.
        higher_is_riskier: see `evaluate`.

    Returns:
        Precision in [0, 1].

    Raises:
        ValueError: on shapes that disagree, labels that are not boolean, or k out of range.
    """
    values, labels = _finite(score, memorized)
    if not 1 <= k <= len(values):
        raise ValueError(
            f"k is {k}: there are {len(values)} samples with a finite score, give 1 to {len(values)}."
        )
    risk = values if higher_is_riskier else -values
    last = np.partition(risk, len(risk) - k)[len(risk) - k]
    above, tied = risk > last, risk == last
    places_left = k - np.count_nonzero(above)
    return float((np.count_nonzero(labels & above) + places_left * labels[tied].mean()) / k)


def operating_point(flag: ArrayLike, memorized: ArrayLike) -> tuple[float, float]:
    """False and true positive rate of a yes-or-no rule, such as PSMI below 0.

    Args:
        flag: bool [N], predicted at risk.
        memorized: bool [N].

    Returns:
        (fpr, tpr).

    Raises:
        ValueError: on shapes that disagree, arrays that are not boolean, or memorized all True or all False.
    """
    flags = np.asarray(flag)
    if flags.dtype != bool:
        raise ValueError(
            f"flag holds {flags.dtype}: give booleans, True where a sample is predicted at risk."
        )
    _, labels = _finite(flags, memorized)
    _need_both(labels)
    return float(flags[~labels].mean()), float(flags[labels].mean())


def memorized_labels(scores: ArrayLike, *, quantile: float = 0.9, eta: float | None = None) -> np.ndarray:
    """Label as memorized the samples at or above a quantile of an attack's score, or at or above eta.

    The quantile (linear between neighbours) is that of the entries that are not nan; nan entries, samples the target
    was not trained on, are never memorized. Scores equal to the quantile are all memorized, so saturated (clipped) scores
    can label more than the share asked for.

    Args:
        scores: [N], such as log-LiRA; finite or nan.
        quantile: in (0, 1).
        eta: least score of a memorized sample, in the unit of the scores; takes the place of the quantile.

    Returns:
        bool [N].

    Raises:
        ValueError: if it is not one-dimensional, all nan or infinite anywhere, or on a quantile outside (0, 1).

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"scores have shape {values.shape}: give a one-dimensional array, one score per sample."
        )
    if not 0 < quantile < 1:
        raise ValueError(f"quantile is {quantile}: give a share between 0 and 1, such as 0.9.")
    if np.isinf(values).any():
        raise ValueError(
            f"{np.isinf(values).sum()} scores are infinite: compute them in log space, or clip them."
        )
    known = values[~np.isnan(values)]
    if not known.size:
        raise ValueError(f"All {values.size} scores are nan: there is nothing to label.")
    return values >= (np.quantile(known, quantile) if eta is None else eta)


def prediction_epoch(epochs: ArrayLike, median_losses: ArrayLike, *, drop: float = 0.95) -> float | None:
    """First checkpoint where the median training loss has lost more than `drop` of its value at epoch 0.

    Args:
        epochs: [E], ascending, starting with 0.
        median_losses: [E], median over the training samples at each checkpoint, finite and not negative.
        drop: in (0, 1); 0.95 asks for less than 5 % of the first value.

    Returns:
        The epoch, or None if no checkpoint is low enough.

    Raises:
        ValueError: on shapes that disagree, epochs that do not ascend from 0, losses that are negative or not finite,
            or a drop outside (0, 1).

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858.
    """
    times, losses = np.asarray(epochs, dtype=np.float64), np.asarray(median_losses, dtype=np.float64)
    if times.ndim != 1 or times.shape != losses.shape or not times.size:
        raise ValueError(
            f"epochs have shape {times.shape} and median_losses {losses.shape}: give one loss per checkpoint."
        )
    if times[0] != 0 or not (np.diff(times) > 0).all():
        raise ValueError(
            f"epochs are {times.tolist()}: give them ascending, the first being 0 (before any training)."
        )
    if not np.isfinite(losses).all() or (losses < 0).any():
        raise ValueError(f"median_losses are {losses.tolist()}: losses must be finite and not negative.")
    if not 0 < drop < 1:
        raise ValueError(f"drop is {drop}: give the share of the first loss to lose, between 0 and 1.")
    low = np.flatnonzero(losses < (1 - drop) * losses[0])
    return float(times[low[0]]) if low.size else None


def _curve(
    score: ArrayLike, memorized: ArrayLike, *, higher_is_riskier: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers of true and false positives, and the threshold, at the origin and each distinct score."""
    values, labels = _finite(score, memorized)
    _need_both(labels)
    order = np.argsort(-values if higher_is_riskier else values)
    ranked = values[order]
    # A point lies after the last of equal scores: the order within a tie does not matter.
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    true_pos = np.concatenate(([0], np.cumsum(labels[order])[last]))
    false_pos = np.concatenate(([0], last + 1)) - true_pos
    nothing_flagged = np.inf if higher_is_riskier else -np.inf
    return true_pos, false_pos, np.concatenate(([nothing_flagged], ranked[last]))


def _finite(score: ArrayLike, memorized: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The samples with a finite score, after checking shapes and the labels' type."""
    values, labels = np.asarray(score, dtype=np.float64), np.asarray(memorized)
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(
            f"Scores have shape {values.shape} and memorized {labels.shape}: give one of each per sample."
        )
    if labels.dtype != bool:
        raise ValueError(f"memorized holds {labels.dtype}: give booleans, True where a sample is memorized.")
    kept = np.isfinite(values)
    return (values, labels) if kept.all() else (values[kept], labels[kept])


def _need_both(labels: np.ndarray) -> None:
    n_memorized = np.count_nonzero(labels)
    if n_memorized in (0, len(labels)):
        raise ValueError(
            f"{n_memorized} of {len(labels)} samples (those with a finite score) are memorized: rates need memorized "
            "samples and others; check the labels and the quantile."
        )
