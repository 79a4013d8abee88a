"""PSMI of float32 hidden states on processors: a float32 matrix product, and one pass over what it gives.

Here belong the compiled loops (numba). They release Python's lock and are given to as many threads as torch has: no
threads of numba's own, which two callers at once would bring down. The same sums in float64, on any device, are in
`psmi_sums.py`.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from memo_assets.measures.compiled import compiled
from memo_assets.measures.psmi_sums import SPREAD_FLOOR
from memo_assets.measures.threads import in_threads

_ROUNDING = 1e-6  # least sd of a class, as a share of the length of its centred states: float32 is no finer
_CELLS = 2**25  # samples x directions held at once: 128 MB
_CENTRED_CELLS = 2**24  # numbers of hidden states centred at once: 64 MB; a product of fewer rows is slower
_TILE = 256  # directions in one pass of the densities: what the first cache holds
_TASK_DIRECTIONS, _TASK_ROWS = (
    500,
    512,
)  # what a thread takes at a time; results do not depend on their number

_compiled = compiled(fastmath={"nsz", "contract", "arcp", "nnan", "ninf", "reassoc"})


@_compiled
def _moments(x, class_of, directions, sums, squares):
    """Add directions (from, up to) of x [N, K] to sums and sums of squares, float64 [C, K], of each class."""
    start, stop = directions
    for i in range(x.shape[0]):
        total, square = sums[class_of[i]], squares[class_of[i]]
        row = x[i]
        for k in range(start, stop):
            value = np.float64(row[k])
            total[k] += value
            square[k] += value * value


@_compiled
def _exp(x):
    """Exp for x <= 0 in float32, off by two units in the last place at most; 0 stands for what is below e^-87."""
    x = max(x, np.float32(-87.0))
    whole = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    rest = x - whole * np.float32(0.693359375)
    rest = rest - whole * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * rest + np.float32(1.3981999507e-3)
    y = y * rest + np.float32(8.3334519073e-3)
    y = y * rest + np.float32(4.1665795894e-2)
    y = y * rest + np.float32(1.6666665459e-1)
    y = y * rest + np.float32(5.0000001201e-1)
    y = y * rest * rest + rest + np.float32(1.0)
    return y * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@_compiled
def _log(x):
    """Log of x >= 1 in float32, off by 1e-7 of itself or of 1 at most."""
    bits = np.int32(np.float32(x).view(np.int32) - 0x3F3504F3)  # the mantissa goes from sqrt(1/2) to sqrt(2)
    whole = np.int32(bits >> 23)
    part = np.int32((bits & 0x7FFFFF) + 0x3F3504F3).view(np.float32) - np.float32(1.0)
    y = np.float32(7.0376836292e-2)
    y = y * part - np.float32(1.1514610310e-1)
    y = y * part + np.float32(1.1676998740e-1)
    y = y * part - np.float32(1.2420140846e-1)
    y = y * part + np.float32(1.4249322787e-1)
    y = y * part - np.float32(1.6668057665e-1)
    y = y * part + np.float32(2.0000714765e-1)
    y = y * part - np.float32(2.4999993993e-1)
    y = y * part + np.float32(3.3333331174e-1)
    square = part * part
    y = y * part * square - np.float32(0.5) * square
    return y + part + np.float32(whole) * np.float32(0.693147181)


@_compiled
def _keep_lowest(tail, values, sign):
    """Put those of sign * values that are lowest into `tail`, which holds the lowest so far from the least on."""
    last = tail.shape[0] - 1
    bound = tail[last]
    for k in range(values.shape[0]):
        value = sign * values[k]
        if value < bound:
            place = last
            while place > 0 and tail[place - 1] > value:
                tail[place] = tail[place - 1]
                place -= 1
            tail[place] = value
            bound = tail[last]


@_compiled
def _rows(x, class_of, samples, gaussians, statistics):
    """Pointwise mutual information of samples (from, up to) on a block of directions, into their statistics.

    x float32 [N, K] are the projections. Gaussians: mean, scale and constant float32 [C, K], log of the prior [C].
    Statistics: how many directions are in them already, means and squared deviations float64 [N], lowest values and
    highest ones negated, float32 [N, T].
    """
    mean, scale, constant, log_prior = gaussians
    seen, means, squares, lowest, highest = statistics
    n_classes, n_directions = mean.shape
    pmi = np.empty(n_directions, np.float32)
    joint = np.empty((n_classes, _TILE), np.float32)
    top, total = np.empty(_TILE, np.float32), np.empty(_TILE, np.float32)
    for i in range(samples[0], samples[1]):
        own = class_of[i]
        for first in range(0, n_directions, _TILE):
            width = min(_TILE, n_directions - first)
            row = x[i, first : first + width]
            top[:] = np.float32(-3e38)
            for c in range(n_classes):
                joint_c = joint[c]
                mean_c, scale_c = mean[c, first : first + width], scale[c, first : first + width]
                constant_c = constant[c, first : first + width]
                for k in range(width):
                    z = (row[k] - mean_c[k]) * scale_c[k]
                    value = constant_c[k] - z * z
                    joint_c[k] = value
                    top[k] = max(top[k], value)
            total[:] = np.float32(0.0)
            for c in range(n_classes):
                joint_c = joint[c]
                for k in range(width):
                    total[k] += _exp(joint_c[k] - top[k])
            joint_own, prior, out = joint[own], log_prior[own], pmi[first : first + width]
            for k in range(width):
                out[k] = joint_own[k] - top[k] - prior - _log(total[k])
        block = 0.0
        for k in range(n_directions):
            block += np.float64(pmi[k])
        block /= n_directions
        square = 0.0
        for k in range(n_directions):
            deviation = np.float64(pmi[k]) - block
            square += deviation * deviation
        # Mean and squared deviations of two groups together (Chan, Golub and LeVeque 1983).
        step = block - means[i]
        squares[i] += square + step * step * (seen * n_directions / (seen + n_directions))
        means[i] += step * (n_directions / (seen + n_directions))
        _keep_lowest(lowest[i], pmi, np.float32(1.0))
        _keep_lowest(highest[i], pmi, np.float32(-1.0))


class FusedSums:
    """Statistics of the pointwise mutual information of N samples over directions, block of directions by block.

    The interface of `psmi_sums.TorchSums`. Projections are those of hidden states from which the mean was taken, so that
    nothing cancels in float32; moments of classes, and of a sample over directions, are summed in float64.
    """

    def __init__(self, states: torch.Tensor, class_of: np.ndarray, counts: np.ndarray, n_tail: int) -> None:
        self._states, self._class_of, self._counts = states.numpy(), class_of, counts
        n = len(self._states)
        with np.errstate(over="ignore"):  # told with their lengths
            self._center = self._states.mean(axis=0)
        self._lengths: np.ndarray | None = None
        self.mean, self._squares = np.zeros(n), np.zeros(n)
        self._lowest, self._highest = (np.full((n, n_tail), np.inf, np.float32) for _ in range(2))
        self.seen = 0

    def statistics(self) -> tuple[np.ndarray, ...]:
        """As `TorchSums.statistics`; the outermost values are float32."""
        return self.mean, self._squares, self._lowest, -self._highest

    def add(self, thetas: torch.Tensor) -> None:
        """Take in directions [K, d], which are rounded to float32."""
        directions = thetas.numpy()
        n_blocks = min(math.ceil(len(directions) * len(self._states) / _CELLS), len(directions))
        for block in np.array_split(directions, n_blocks):
            self._add_block(block.astype(np.float32, copy=False))

    def _add_block(self, thetas: np.ndarray) -> None:
        x = self._projections(thetas)
        assert self._lengths is not None
        n, k = x.shape
        sums, squares = np.zeros((2, len(self._counts), k))

        def moments(start: int) -> None:
            _moments(x, self._class_of, (start, min(start + _TASK_DIRECTIONS, k)), sums, squares)

        in_threads(moments, range(0, k, _TASK_DIRECTIONS))
        n_c = self._counts[:, None].astype(np.float64)
        mean = sums / n_c
        variance = np.maximum(squares - sums * mean, 0) / (n_c - 1)
        total_sd = np.sqrt(np.maximum(squares.sum(axis=0) / n - (sums.sum(axis=0) / n) ** 2, 0))
        rounding = _ROUNDING * self._lengths[:, None] * np.sqrt(np.einsum("kd,kd->k", thetas, thetas))
        sd = np.maximum(np.sqrt(variance), np.maximum(SPREAD_FLOOR * total_sd, rounding))
        sd[sd == 0] = 1.0
        log_prior = np.log(self._counts / n)
        scale, constant = math.sqrt(0.5) / sd, log_prior[:, None] - np.log(sd)
        fitted = tuple(part.astype(np.float32) for part in (mean, scale, constant, log_prior))
        found = (self.seen, self.mean, self._squares, self._lowest, self._highest)

        def rows(start: int) -> None:
            _rows(x, self._class_of, (start, min(start + _TASK_ROWS, n)), fitted, found)

        in_threads(rows, range(0, n, _TASK_ROWS))
        self.seen += k

    def _projections(self, thetas: np.ndarray) -> np.ndarray:
        """Projections float32 [N, K] of the centred hidden states; the first time, their lengths by class too."""
        states = self._states
        out = np.empty((len(states), len(thetas)), np.float32)
        n_rows = min(max(1, _CENTRED_CELLS // states.shape[1]), len(states))
        centred = np.empty((n_rows, states.shape[1]), np.float32)
        squares = np.empty(len(states)) if self._lengths is None else None
        for start in range(0, len(states), n_rows):
            rows = slice(start, start + n_rows)
            block = np.subtract(states[rows], self._center, out=centred[: len(states) - start])
            if squares is not None:
                squares[rows] = np.einsum("nd,nd->n", block, block)
                if not np.isfinite(squares[rows]).all():
                    raise ValueError(
                        f"hidden holds values up to {np.abs(states).max():.3g}, whose squares exceed float32: pass the "
                        "hidden states as float64, or divide them by a constant, on which no score depends."
                    )
            np.matmul(block, thetas.T, out=out[rows])
        if squares is not None:
            self._lengths = np.sqrt(np.bincount(self._class_of, squares, len(self._counts)) / self._counts)
        return out
