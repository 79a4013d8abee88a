"""Labels that a model contradicts: candidates for label errors.

What belongs here: the rule on probabilities. What does not: where the probabilities come from.
"""

from __future__ import annotations

import numpy as np

NONE = -1


def suspected_labels(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """For each sample the label that the model holds for the true one, where it is not the given label.

    A sample counts as one of class j if its probability of j is at least the mean probability of j among the samples that
    bear the label j; of several such classes the most probable one counts. The rule is confident learning's, which asks for
    probabilities of models that have not seen the sample. Probabilities early in the only training run are what an audit
    has; a model that knows a wrong label by heart already hides it.

    Args:
        probabilities: [N, C], rows over the same C labels.
        given: int [N], index of the label given.

    Returns:
        int64 [N], index of the label suspected to be the true one; -1 where the given one is not in doubt.

    Raises:
        ValueError: shapes that disagree, probabilities that are no shares, or labels outside of 0 to C - 1.

    Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021,
    arXiv 1911.00068, equations 1 and 2.
    """
    values, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(given)
    if values.ndim != 2 or labels.shape != (len(values),):
        raise ValueError(
            f"probabilities {values.shape} and labels {labels.shape} given, expected [N, C] and [N]"
        )
    if not ((values >= 0) & (values <= 1)).all():  # nan too
        raise ValueError("probabilities outside of [0, 1], or nan: give the softmax over the labels")
    if len(labels) and (labels.min() < 0 or labels.max() >= values.shape[1]):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {values.shape[1] - 1}"
        )
    counts = np.bincount(labels, minlength=values.shape[1])
    own = values[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=values.shape[1])
    # A label that nobody bears has no threshold, so nobody can be counted as one of it.
    thresholds = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    confident = np.where(values >= thresholds, values, -np.inf)
    found = confident.argmax(axis=1)
    doubted = np.isfinite(confident.max(axis=1, initial=-np.inf)) & (found != labels)
    return np.where(doubted, found, NONE).astype(np.int64)
