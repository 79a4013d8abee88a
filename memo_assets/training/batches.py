"""Which samples each model of a pack sees at each step.

What belongs here: the batch plan, a pure function of split seed and epoch. No torch.

Batches hold samples of similar length, so that little is padded. All models of a pack take their batches in the same
order of length, so that a step has similar lengths across the pack; which samples they hold depends on the split seed
alone, never on the pack.
"""

from collections.abc import Sequence

import numpy as np

MEGA_BATCH = 32
_ROWS, _ORDER = 11, 12


def epoch_batches(
    rows: np.ndarray, lengths: np.ndarray, epoch: int, *, split_seed: int, batch_size: int
) -> list[np.ndarray]:
    """Batches of one model in one epoch, in the order of steps.

    The rows are shuffled; within each run of 32 batches they are sorted by length and cut into batches; the
    batches are then taken in an order that depends on the epoch only. What is left over after the full batches makes
    one smaller batch, whose place is drawn like any other's.

    Args:
        rows: int64 [n], the model's training samples.
        lengths: int [N], length of every sample of the data set.
        epoch: counted from 0.
        split_seed: the model's split seed.
        batch_size: samples per batch.

    Returns:
        ceil(n / batch_size) arrays of rows; together each row once.
    """
    shuffled = np.random.default_rng([split_seed, epoch, _ROWS]).permutation(rows)
    n_full = len(rows) // batch_size * batch_size
    mega = np.arange(n_full) // (MEGA_BATCH * batch_size)
    by_length = np.lexsort((lengths[shuffled[:n_full]], mega))
    batches = list(shuffled[:n_full][by_length].reshape(-1, batch_size))
    if n_full < len(rows):
        batches.append(shuffled[n_full:])
    order = np.random.default_rng([epoch, _ORDER]).permutation(len(batches))
    return [batches[i] for i in order]


def pack_batches(
    train_rows: np.ndarray, lengths: np.ndarray, epoch: int, *, seeds: Sequence[int], batch_size: int
) -> list[np.ndarray]:
    """Batches of all models of a pack in one epoch: per step, rows [K, b].

    Args:
        train_rows: int64 [K, n], training samples of each model.
        lengths: int [N].
        epoch: counted from 0.
        seeds: split seed of each model.
        batch_size: samples per model and batch.
    """
    per_model = [
        epoch_batches(rows, lengths, epoch, split_seed=seed, batch_size=batch_size)
        for rows, seed in zip(train_rows, seeds, strict=True)
    ]
    return [np.stack(step) for step in zip(*per_model, strict=True)]


def without(rows: np.ndarray, left_out: np.ndarray, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A batch without the samples that are left out: other samples stand in their places and count for nothing.

    The batch keeps its shape, so that models that leave out different numbers of samples stay in one pack and make the same
    steps. In the places are copies of the model's other samples in the batch, in turn: nothing of what is left out reaches
    a model, not even by statistics over the batch.

    Args:
        rows: int64 [K, b], the batch of each model.
        left_out: bool [N], by sample.
        spare: int64 [K], a training sample of each model that is not left out, for batches where all are.

    Returns:
        The rows [K, b] to look at, and bool [K, b], those that count.
    """
    counts = ~left_out[rows]
    filled = rows.copy()
    for k in np.flatnonzero(~counts.all(axis=1)):
        places = np.flatnonzero(~counts[k])
        others = rows[k, counts[k]] if counts[k].any() else spare[k : k + 1]
        filled[k, places] = others[np.arange(len(places)) % len(others)]
    return filled, counts
