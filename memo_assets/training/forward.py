"""The forward pass: all models of a pack over all samples, at one checkpoint.

What belongs here: batches in order of length and results in order of sample. What does not: what becomes of logits
and hidden states (`measures`, `store`).
"""

from dataclasses import dataclass

import numpy as np

from memo_assets.training.task import Prediction, Task


@dataclass(frozen=True)
class Forward:
    """Outputs of K models on N samples, in sample order.

    option_logits: float32 [K, N, C], logits of each sample's own options, -inf beyond their number.
    loss: float32 [K, N], cross-entropy of the given label over everything the model can answer.
    hidden: of each layer 1 to L float32 [K, N, d], hidden states of the layer's own width d; or None.
    """

    option_logits: np.ndarray
    loss: np.ndarray
    hidden: list[np.ndarray] | None


# A sample shares its pass with longer ones only if it is at least this share of the longest: the rest is padding.
MIN_FILLED = 0.8


def forward(task: Task, n_samples: int, *, hidden: bool = False, batch_tokens: int = 16_384) -> Forward:
    """Run all models over samples 0 to n_samples - 1.

    Args:
        task: the models and their data.
        n_samples: number of samples, from the first on.
        hidden: whether to keep the hidden states, 4 * K * n_samples * d bytes for each layer.
        batch_tokens: tokens in one pass, padding included, over all models; one sample per pass if it is too long.

    Raises:
        ValueError: n_samples is not in 1 to the task's number of samples.
    """
    if not 1 <= n_samples <= len(task.lengths):
        raise ValueError(f"n_samples = {n_samples} given, expected 1 to {len(task.lengths)}")
    by_length = np.argsort(task.lengths[:n_samples], kind="stable")[::-1]
    n_models = len(task.seeds)
    result: Forward | None = None
    start = 0
    while start < n_samples:
        longest = int(task.lengths[by_length[start]])
        rows = by_length[start : start + max(1, batch_tokens // (n_models * longest))]
        # Sorted by length, so those that fill enough of a row of the longest come first.
        rows = rows[task.lengths[rows] >= MIN_FILLED * longest].copy()
        part = task.predict(rows, hidden=hidden)
        if result is None:
            result = _empty(part, n_samples)
        result.option_logits[:, rows] = part.option_logits.float().cpu().numpy()
        result.loss[:, rows] = part.loss.float().cpu().numpy()
        if result.hidden is not None and part.hidden is not None:
            for layer, states in zip(result.hidden, part.hidden, strict=True):
                layer[:, rows] = states.float().cpu().numpy()
        start += len(rows)
    assert result is not None
    return result


def _empty(part: Prediction, n_samples: int) -> Forward:
    """Arrays for all samples, shaped after the first batch."""
    n_models, _, n_options = part.option_logits.shape
    hidden = None
    if part.hidden is not None:
        hidden = [
            np.empty((n_models, n_samples, states.shape[2]), dtype=np.float32) for states in part.hidden
        ]
    return Forward(
        np.empty((n_models, n_samples, n_options), dtype=np.float32),
        np.empty((n_models, n_samples), dtype=np.float32),
        hidden,
    )
