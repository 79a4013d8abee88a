"""Pointwise sliced mutual information (PSMI): how well a sample's hidden state speaks for the label it was given.

Here belong the score and what lets it run in flat memory; directions and checks are in `directions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from memo_assets.measures.directions import (
    LOW,
    class_index,
    direction_blocks,
    direction_tensor,
    hidden_tensor,
    row_blocks,
    unit_directions,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

AUTO_BLOCK, MAX_DIRECTIONS = 500, 10_000
AUTO_LOWEST, AUTO_CHANGE = 0.05, 0.05

_SPREAD_FLOOR = 1e-6  # least sd of a class on a direction, as a share of the sd of all samples there
_ROUNDING = 1e-12  # and as a share of the length of the hidden states: float64 projections are no finer
_PMI_CELLS = 10_000_000  # samples x directions held at once: 80 MB; every block reads all hidden states
_WIDE_CELLS = 2**21  # numbers of hidden states held at once in float64: 16 MB
_DENSITY_CELLS_CPU = 2**17  # classes x samples x directions held at once: what a cache holds
_DENSITY_CELLS_GPU = 2**23  # enough to make the launch of a kernel cheap


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
    p(c). Densities stay in log space, so a sample far from every class has a finite score. All is computed in float64
    (no setting that speeds up float32 products changes a score), on the device of `hidden`, in blocks of directions.

    A class whose samples nearly coincide on a direction is given a standard deviation of 1e-6 times that of all
    samples there, and at least 1e-12 of the length of the hidden states (rounding error). Where all samples coincide
    the direction tells nothing and its pointwise mutual information is 0 up to that rounding.

    Args:
        hidden: [N, d], array or tensor: the hidden states of one layer at the position that predicts the answer.
        labels: [N], the label *given* to each sample (an answer token, label noise included).
        directions: [K, d] to project on; drawn by `unit_directions` if None.
        n_directions: K, where they are drawn; "auto" adds blocks of 500 until the 5 % of samples with the lowest PSMI
            differ by 5 % or less, in the mean of their relative differences, from their PSMI on the first half of the
            blocks (two blocks at least, 10,000 directions at most).
        seed: of that draw.
        classes: the classes to model, by default the sorted distinct labels; a label outside of them is an error.

    Returns:
        Psmi, four arrays [N]; no value exceeds -log p(y).

    Raises:
        ValueError: on shapes that disagree, hidden states that are not finite, fewer than two classes, a class with
            fewer than two samples, labels outside `classes`, no direction, or directions of another width.

    Source: Wongso, Ghosh and Motani, "Pointwise Sliced Mutual Information for Neural Network Explainability",
    ISIT 2023, algorithm 1; as a predictor of memorization, Dentan et al., ECAI 2025, arXiv 2409.18858, whose authors'
    package `psmi` chooses the number of directions in this way.
    """
    import torch

    states = hidden_tensor(hidden)
    index, counts = class_index(labels, len(states), classes)
    class_of = torch.from_numpy(index).to(states.device)
    n_per_class = torch.from_numpy(counts).to(states.device)
    parts = [torch.linalg.vector_norm(rows.double()) for rows in row_blocks(states, _WIDE_CELLS)]
    length = torch.linalg.vector_norm(torch.stack(parts)) / math.sqrt(len(states))

    def add(thetas: torch.Tensor, sums: _OverDirections) -> None:
        n_blocks = math.ceil(len(thetas) * len(states) / _PMI_CELLS)
        for block in thetas.tensor_split(min(n_blocks, len(thetas))):
            rounding = _ROUNDING * length * torch.linalg.vector_norm(block, dim=1)
            sums.add(_pointwise(_projections(states, block), class_of, n_per_class, least_sd=rounding))

    if directions is not None or n_directions != "auto":
        thetas = direction_tensor(
            directions, states, 0 if n_directions == "auto" else n_directions, seed=seed
        )
        sums = _OverDirections(states, most=len(thetas))
        add(thetas, sums)
        return sums.result()
    sums = _OverDirections(states, most=MAX_DIRECTIONS)
    means = []
    for block in direction_blocks(AUTO_BLOCK, states.shape[1], seed):
        add(torch.from_numpy(block).to(states.device), sums)
        means.append(sums.mean.clone())
        if _settled(means) or sums.seen >= MAX_DIRECTIONS:
            break
    return sums.result()


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
    thetas: np.ndarray | None = None
    for hidden in layers:
        width = np.shape(hidden)[-1]
        if n_directions != "auto" and (thetas is None or thetas.shape[1] != width):
            thetas = unit_directions(n_directions, width, seed)
        yield psmi(hidden, labels, directions=thetas, n_directions=n_directions, seed=seed)


class _OverDirections:
    """Mean, spread and outer quantiles of the pointwise mutual information of N samples, block of directions by block."""

    def __init__(self, states: torch.Tensor, *, most: int) -> None:
        import torch

        n, device = len(states), states.device
        # Exact quantiles need only the values beyond them: these are carried from block to block.
        self._n_tail = min(int(LOW * (most - 1)) + 2, most)
        self.mean, self._squares = torch.zeros(2, n, dtype=torch.float64, device=device)
        self._lowest = self._highest = torch.empty(n, 0, dtype=torch.float64, device=device)
        self.seen = 0

    def add(self, pmi: torch.Tensor) -> None:
        """Take in a block [N, K], which is overwritten."""
        self._lowest = _outermost(self._lowest, pmi, self._n_tail, largest=False)
        self._highest = _outermost(self._highest, pmi, self._n_tail, largest=True)
        # Mean and squared deviations of two groups together (Chan, Golub and LeVeque 1983).
        new = pmi.shape[1]
        block_mean = pmi.mean(dim=1)
        step = block_mean - self.mean
        self._squares += pmi.sub_(block_mean[:, None]).square_().sum(dim=1)
        self._squares += step.square() * (self.seen * new / (self.seen + new))
        self.mean += step * (new / (self.seen + new))
        self.seen += new

    def result(self) -> Psmi:
        """The statistics over all directions so far."""
        position = LOW * (self.seen - 1)
        low, high = (_interpolate(tail, position) for tail in (self._lowest, self._highest))
        sd = (self._squares / self.seen).sqrt_()
        return Psmi(*(values.cpu().numpy() for values in (self.mean, low, high, sd)), n_directions=self.seen)


def _settled(means: list[torch.Tensor]) -> bool:
    """Whether the samples of lowest PSMI changed little since half as many blocks; never after one block."""
    now, before = means[-1], means[len(means) // 2 - 1]
    if len(means) < 2:
        return False
    lowest = now.argsort()[: max(1, int(AUTO_LOWEST * len(now)))]
    change = ((before[lowest] - now[lowest]) / now[lowest]).abs().mean()
    return bool(change <= AUTO_CHANGE)


def _projections(states: torch.Tensor, thetas: torch.Tensor) -> torch.Tensor:
    """Projections float64 [N, K], without a float64 copy of all hidden states."""
    import torch

    out = torch.empty(len(states), len(thetas), dtype=torch.float64, device=states.device)
    blocks = row_blocks(states, _WIDE_CELLS)
    wide = torch.empty_like(blocks[0], dtype=torch.float64)  # once: fresh memory costs as much as filling it
    for rows, projected in zip(blocks, out.split(len(wide)), strict=True):
        torch.mm(wide[: len(rows)].copy_(rows), thetas.T, out=projected)
    return out


def _pointwise(
    x: torch.Tensor, class_of: torch.Tensor, n_per_class: torch.Tensor, *, least_sd: torch.Tensor
) -> torch.Tensor:
    """Pointwise mutual information float64 [N, K], written over the projections `x` [N, K].

    `class_of` int64 [N] and `n_per_class` int64 [C] are the classes; `least_sd` [K] is the least standard deviation.
    Fresh memory costs as much as the arithmetic: hence all that happens in place.
    """
    import torch

    x -= x.mean(dim=0)  # moments and densities are those of numbers near 0: nothing cancels
    members = torch.nn.functional.one_hot(class_of, len(n_per_class)).T.double()
    n_c = n_per_class.double()[:, None]
    prior = n_c / len(x)
    mean = members @ x / n_c
    cells = _DENSITY_CELLS_CPU if x.device.type == "cpu" else _DENSITY_CELLS_GPU
    n_rows = max(1, cells // mean.numel())
    chunks = list(zip(x.split(n_rows), class_of.split(n_rows), strict=True))
    squares = torch.zeros_like(mean)
    for (rows, own), member in zip(chunks, members.split(n_rows, dim=1), strict=True):
        squares.addmm_(member, mean[own].sub_(rows).square_())
    total_sd = (squares.sum(dim=0) / len(x) + (prior * mean.square()).sum(dim=0)).sqrt_()
    floor = torch.maximum(_SPREAD_FLOOR * total_sd, least_sd)
    sd = torch.maximum((squares / (n_c - 1)).sqrt_(), torch.where(floor > 0, floor, 1.0))

    # log p(c) p(x|c) = constant - (x * scale + offset)^2, but for the log of sqrt(2 pi), which cancels in the end.
    scale = math.sqrt(0.5) / sd
    offset = -mean * scale
    log_prior = prior.log()
    constant = log_prior - sd.log()
    for rows, own in chunks:
        joint = torch.addcmul(offset[:, None], rows, scale[:, None])
        torch.addcmul(constant[:, None], joint, joint, value=-1, out=joint)
        likelihood = joint[own, torch.arange(len(rows), device=x.device)] - log_prior[own]
        # log sum exp in place, with torch.logsumexp's guard against infinite densities left out: there are none.
        top = joint.amax(dim=0)
        torch.sub(likelihood - top, joint.sub_(top).exp_().sum(dim=0).log_(), out=rows)
    return x


def _outermost(tail: torch.Tensor, values: torch.Tensor, n: int, *, largest: bool) -> torch.Tensor:
    """The `n` smallest or largest of each row of both (all, where there are fewer), from the outermost inwards."""
    import torch

    new = values.topk(min(n, values.shape[1]), dim=1, largest=largest, sorted=False).values
    return torch.cat((tail, new), dim=1).sort(dim=1, descending=largest).values[:, :n]


def _interpolate(tail: torch.Tensor, position: float) -> torch.Tensor:
    """Value at a fractional rank of each row, as in numpy's linear quantile."""
    rank = int(position)
    inner = min(rank + 1, tail.shape[1] - 1)
    return tail[:, rank].lerp(tail[:, inner], position - rank)
