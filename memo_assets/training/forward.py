"""The forward pass: all models of a pack over samples, at one checkpoint.

What belongs here: batches in order of length and results in order of sample. What does not: what becomes of logits
and hidden states (`measures`, `store`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from memo_assets.training.task import Prediction, Task


@dataclass(frozen=True)
class Forward:
    """Outputs of K models on N samples, in the order they were asked for.

    option_logits: float32 [K, N, C], logits of each sample's own options, -inf beyond their number.
    loss: float32 [K, N], cross-entropy of the given label over everything the model can answer.
    hidden: of each layer 1 to L float32 [K, N, d], hidden states of the layer's own width d; or None.
    """

    option_logits: np.ndarray
    loss: np.ndarray
    hidden: list[np.ndarray] | None


# A sample shares its pass with longer ones only if it is at least this share of the longest: the rest is padding.
MIN_FILLED = 0.8


def forward(
    task: Task,
    samples: np.ndarray | None = None,
    *,
    hidden: bool | Literal["last"] = False,
    batch_tokens: int = 16_384,
) -> Forward:
    """Run all models over samples.

    Args:
        task: the models and their data.
        samples: int64 [N], positions of the samples in the data; by default all, in their order.
        hidden: whether to keep the hidden states, 4 * K * N * d bytes for each layer; "last" keeps those of the last
            layer alone.
        batch_tokens: tokens in one pass, padding included, over all models; one sample per pass if it is too long.

    Raises:
        ValueError: no samples, or some that the data do not hold.
    """
    n_data, n_models = len(task.lengths), len(task.seeds)
    samples = np.arange(n_data) if samples is None else samples
    if not len(samples) or samples.min() < 0 or samples.max() >= n_data:
        span = f"from {samples.min()} to {samples.max()}" if len(samples) else "none"
        raise ValueError(f"samples: {span} given, expected positions 0 to {n_data - 1}")
    n_samples, lengths = len(samples), task.lengths[samples]
    by_length = np.argsort(lengths, kind="stable")[::-1]
    result: Forward | None = None
    start = 0
    while start < n_samples:
        longest = int(lengths[by_length[start]])
        rows = by_length[start : start + max(1, batch_tokens // (n_models * longest))]
        # Sorted by length, so those that fill enough of a row of the longest come first.
        rows = rows[lengths[rows] >= MIN_FILLED * longest]
        part = task.predict(samples[rows], hidden=bool(hidden))
        if hidden == "last" and part.hidden is not None:
            part = part._replace(hidden=part.hidden[-1:])
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
