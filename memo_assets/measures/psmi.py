"""Pointwise sliced mutual information (PSMI): how well a sample's hidden state speaks for the label it was given.

Here belong the score and its quantiles; checks are in `directions.py`, the directions drawn in `hadamard.py`, what is summed
up over directions in `psmi_sums.py` (float64, any device) and `psmi_fused.py` (float32, processors).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from memo_assets.measures.directions import (
    LOW,
    Room,
    check_count,
    class_index,
    given_directions,
    hidden_tensor,
)
from memo_assets.measures.hadamard import HadamardDirections

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from memo_assets.measures.psmi_fused import FusedSums
    from memo_assets.measures.psmi_sums import TorchSums

MAX_DIRECTIONS, DIRECTION_BLOCK = 10_000, 500
AUTO_LOWEST, AUTO_CHANGE = 0.05, 0.05


@dataclass(frozen=True)
class Psmi:
    """PSMI of every sample in nats: statistics over directions of the pointwise mutual information.

    Attributes:
        mean: float64 [N], the score itself; low (below 0) means at risk of being memorized.
        low: float64 [N], 1 % quantile.
        high: float64 [N], 99 % quantile.
        sd: float64 [N], population standard deviation.
        n_directions: how many directions there were.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sd: np.ndarray
    n_directions: int


def psmi(
    hidden: ArrayLike | torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    *,
    directions: ArrayLike | torch.Tensor | None = None,
    n_directions: int | Literal["auto"] = 2000,
    seed: int = 0,
    classes: Sequence | np.ndarray | None = None,
) -> Psmi:
    """Pointwise sliced mutual information between hidden states and labels.

    On each direction the projections of a class are modelled by a Gaussian (mean and unbiased standard deviation).
    The pointwise mutual information of a sample is log p(x|y) - log sum_c p(c) p(x|c), with the class frequencies as
    p(c). Densities stay in log space, so a sample far from every class has a finite score.

    Directions that are drawn need no matrix product (`hadamard.py`): each is uniform on the sphere, and scores scatter over
    seeds about as with directions drawn one by one.

    float32 hidden states on a processor are centred and projected in float32, with moments in float64 (scores differ from
    those of float64 by some 1e-7); float64 ones, and those on a GPU, are projected in float64. No setting that speeds up
    float32 products changes a score. Memory is flat: directions go in blocks, and quantiles are exact all the same.

    A class whose samples nearly coincide on a direction is given a standard deviation of 1e-6 times that of all
    samples there, and at least what rounding leaves: 1e-6 of the length of the class's centred hidden states in float32,
    1e-12 of the length of the hidden states in float64. Where all samples coincide the direction tells nothing and its
    pointwise mutual information is 0 up to that rounding.

    Args:
        hidden: [N, d], array or tensor: the hidden states of one layer at the position that predicts the answer.
        labels: [N], the label *given* to each sample (an answer token, label noise included).
        directions: [K, d] to project on; `HadamardDirections`, each uniform on the sphere, are drawn if None.
        n_directions: K, where they are drawn; "auto" adds blocks of 500 until the 5 % of samples with the lowest PSMI
            differ by 5 % or less, in the mean of their relative differences, from their PSMI on the first half of the
            blocks (two blocks at least, 10,000 directions at most).
        seed: of that draw.
        classes: the classes to model, by default the sorted distinct labels; a label outside of them is an error.

    Returns:
        Psmi, four arrays [N]; no value exceeds -log p(y) but by rounding.

    Raises:
        ValueError: on shapes that disagree, hidden states that are not finite (or float32 ones whose squares are not),
            fewer than two classes, a class with fewer than two samples, labels outside `classes`, no direction, or directions of another width.

    Source: Wongso, Ghosh and Motani, "Pointwise Sliced Mutual Information for Neural Network Explainability",
    ISIT 2023, algorithm 1; as a predictor of memorization, Dentan et al., ECAI 2025, arXiv 2409.18858, whose authors'
    package `psmi` chooses the number of directions in this way.
    """
    states = hidden_tensor(hidden)
    if directions is not None:
        taken = given_directions(directions, states, _precision(states))
    else:
        taken = None if n_directions == "auto" else _drawn(states, n_directions, seed)
    return _psmi(states, labels, taken, seed=seed, room=Room(), classes=classes)


def psmi_of_layers(
    layers: Iterable[ArrayLike | torch.Tensor],
    labels: ArrayLike | torch.Tensor,
    *,
    n_directions: int | Literal["auto"] = 2000,
    seed: int = 0,
) -> Iterator[Psmi]:
    """PSMI of several layers of one model, which share the directions: the values of `psmi` on each.

    Args:
        layers: of each layer [N, d], its hidden states; read one after another.
        labels: [N], the label given to each sample.
        n_directions: as in `psmi`.
        seed: as in `psmi`.

    Yields:
        Psmi, layer after layer.

    Raises:
        ValueError: as `psmi`.
    """
    drawn: HadamardDirections | None = None
    room = Room()
    for hidden in layers:
        states = hidden_tensor(hidden)
        if n_directions != "auto" and (drawn is None or drawn.width != states.shape[1]):
            drawn = _drawn(states, n_directions, seed)
        yield _psmi(states, labels, drawn, seed=seed, room=room)


def _psmi(
    states: torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    directions: torch.Tensor | HadamardDirections | None,
    *,
    seed: int,
    room: Room,
    classes: Sequence | np.ndarray | None = None,
) -> Psmi:
    """`psmi` of hidden states that were checked; without directions these are drawn until the scores settle."""
    class_of, counts = class_index(labels, len(states), classes)
    if directions is not None:
        sums = _sums(states, class_of, counts, most=len(directions), room=room)
        sums.add(directions)
        return _result(sums)
    sums = _sums(states, class_of, counts, most=MAX_DIRECTIONS, room=room)
    means = []
    for start in range(0, MAX_DIRECTIONS, DIRECTION_BLOCK):
        sums.add(HadamardDirections.drawn(states.shape[1], seed, start, start + DIRECTION_BLOCK))
        means.append(sums.mean.copy())
        if _settled(means):
            break
    return _result(sums)


def _drawn(states: torch.Tensor, n_directions: int, seed: int) -> HadamardDirections:
    """The first directions that a seed draws."""
    check_count(n_directions)
    return HadamardDirections.drawn(states.shape[1], seed, 0, n_directions)


def _settled(means: list[np.ndarray]) -> bool:
    """Whether the samples of lowest PSMI changed little since half as many blocks; never after one block."""
    now, before = means[-1], means[len(means) // 2 - 1]
    if len(means) < 2:
        return False
    lowest = now.argsort(kind="stable")[: max(1, int(AUTO_LOWEST * len(now)))]
    change = np.abs((before[lowest] - now[lowest]) / now[lowest]).mean()
    return bool(change <= AUTO_CHANGE)


def _precision(states: torch.Tensor) -> type:
    """In which the hidden states are projected."""
    import torch

    on_processor = states.device.type == "cpu"
    return np.float32 if on_processor and states.dtype == torch.float32 else np.float64


def _sums(
    states: torch.Tensor, class_of: np.ndarray, counts: np.ndarray, *, most: int, room: Room
) -> TorchSums | FusedSums:
    """What statistics over `most` directions at most are summed up in."""
    # Exact quantiles need only the values beyond them: these are carried from block to block.
    n_tail = min(int(LOW * (most - 1)) + 2, most)
    if _precision(states) is np.float32:
        from memo_assets.measures.psmi_fused import FusedSums

        return FusedSums(states, class_of, counts, n_tail, room=room)
    from memo_assets.measures.psmi_sums import TorchSums

    return TorchSums(states, class_of, counts, n_tail)


def _result(sums: TorchSums | FusedSums) -> Psmi:
    """The statistics over all directions so far."""
    position = LOW * (sums.seen - 1)
    mean, squares, lowest, highest = sums.statistics()
    low, high = (_interpolate(tail, position) for tail in (lowest, highest))
    return Psmi(mean, low, high, np.sqrt(squares / sums.seen), n_directions=sums.seen)


def _interpolate(tail: np.ndarray, position: float) -> np.ndarray:
    """Value at a fractional rank of each row, as in numpy's linear quantile."""
    rank = int(position)
    inner = min(rank + 1, tail.shape[1] - 1)
    first, second = tail[:, rank].astype(np.float64), tail[:, inner].astype(np.float64)
    return first + (second - first) * (position - rank)
