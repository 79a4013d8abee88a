"""PSMI in float64 on any device: what is summed up over directions, by torch.

Here belong projections, class Gaussians and pointwise mutual information of blocks of directions. The same in float32
on processors is in `psmi_fused.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from memo_assets.measures.directions import row_blocks
from memo_assets.measures.hadamard import HadamardDirections

SPREAD_FLOOR = 1e-6
"""Least sd of a class on a direction, as a share of the sd of all samples there."""

_ROUNDING = 1e-12  # and as a share of the length of the hidden states: float64 projections are no finer
_PMI_CELLS = 10_000_000  # samples x directions held at once: 80 MB; every block reads all hidden states
_WIDE_CELLS = 2**21  # numbers of hidden states held at once in float64: 16 MB
_DENSITY_CELLS_CPU = 2**17  # classes x samples x directions held at once: what a cache holds
_DENSITY_CELLS_GPU = 2**23  # enough to make the launch of a kernel cheap


class TorchSums:
    """Mean, spread and outermost values of the pointwise mutual information of N samples over directions.

    Args:
        states: [N, d], hidden states on the device to work on.
        class_of: int64 [N], number of each sample's class.
        counts: int64 [C], samples of each class.
        n_tail: T, how many of the lowest and highest values are kept.
    """

    def __init__(self, states: torch.Tensor, class_of: np.ndarray, counts: np.ndarray, n_tail: int) -> None:
        n, device = len(states), states.device
        self._states = states
        self._class_of, self._counts = (torch.from_numpy(part).to(device) for part in (class_of, counts))
        parts = [torch.linalg.vector_norm(rows.double()) for rows in row_blocks(states, _WIDE_CELLS)]
        self._length = torch.linalg.vector_norm(torch.stack(parts)) / math.sqrt(n)
        self._n_tail = n_tail
        self._mean, self._squares = torch.zeros(2, n, dtype=torch.float64, device=device)
        self._lowest = self._highest = torch.empty(n, 0, dtype=torch.float64, device=device)
        self.seen = 0

    @property
    def mean(self) -> np.ndarray:
        """float64 [N], the mean so far."""
        return self._mean.cpu().numpy()

    def statistics(self) -> tuple[np.ndarray, ...]:
        """Mean and sum of squared deviations float64 [N], lowest and highest values so far [N, T], outermost first."""
        found = (self._mean, self._squares, self._lowest, self._highest)
        return tuple(values.cpu().numpy() for values in found)

    def add(self, directions: torch.Tensor | HadamardDirections) -> None:
        """Take in directions: a matrix float64 [K, d], or drawn ones."""
        most = max(1, _PMI_CELLS // len(self._states))
        if isinstance(directions, HadamardDirections):
            for part in directions.parts(most):
                device = self._states.device
                projections = _projected(self._states, len(part), part.projector(device))
                self._take_projections(projections, torch.from_numpy(part.lengths()).to(device))
            return
        for block in directions.split(most):
            projections = _projected(self._states, len(block), lambda rows, block=block: rows @ block.T)
            self._take_projections(projections, torch.linalg.vector_norm(block, dim=1))

    def _take_projections(self, x: torch.Tensor, lengths: torch.Tensor) -> None:
        """Take in projections [N, K], which are overwritten, on directions of these lengths [K]."""
        rounding = _ROUNDING * self._length * lengths
        self._take(_pointwise(x, self._class_of, self._counts, least_sd=rounding))

    def _take(self, pmi: torch.Tensor) -> None:
        """Take in a block [N, K], which is overwritten."""
        self._lowest = _outermost(self._lowest, pmi, self._n_tail, largest=False)
        self._highest = _outermost(self._highest, pmi, self._n_tail, largest=True)
        # Mean and squared deviations of two groups together (Chan, Golub and LeVeque 1983).
        new = pmi.shape[1]
        block_mean = pmi.mean(dim=1)
        step = block_mean - self._mean
        self._squares += pmi.sub_(block_mean[:, None]).square_().sum(dim=1)
        self._squares += step.square() * (self.seen * new / (self.seen + new))
        self._mean += step * (new / (self.seen + new))
        self.seen += new


def _projected(
    states: torch.Tensor, n_directions: int, project: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Projections float64 [N, K], without a float64 copy of all hidden states."""
    out = torch.empty(len(states), n_directions, dtype=torch.float64, device=states.device)
    blocks = row_blocks(states, _WIDE_CELLS)
    for rows, projected in zip(blocks, out.split(len(blocks[0])), strict=True):
        projected.copy_(project(rows.double()))
    return out


def _pointwise(
    x: torch.Tensor, class_of: torch.Tensor, n_per_class: torch.Tensor, *, least_sd: torch.Tensor
) -> torch.Tensor:
    """Pointwise mutual information float64 [N, K], written over the projections `x` [N, K].

    `class_of` int64 [N] and `n_per_class` int64 [C] are the classes; `least_sd` [K] is the least standard deviation.
    Fresh memory costs as much as the arithmetic: hence all that happens in place.
    """
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
    floor = torch.maximum(SPREAD_FLOOR * total_sd, least_sd)
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
    new = values.topk(min(n, values.shape[1]), dim=1, largest=largest, sorted=False).values
    return torch.cat((tail, new), dim=1).sort(dim=1, descending=largest).values[:, :n]
