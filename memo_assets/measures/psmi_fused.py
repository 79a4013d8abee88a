"""PSMI of float32 hidden states on processors: float32 projections, and one pass over what they give.

What belongs here: memory, threads and the order of the compiled loops (numba, in `psmi_loops.py`). These release Python's
lock and are given to as many threads as torch has: no threads of numba's own, which two callers at once would bring down.
The same sums in float64, on any device, are in `psmi_sums.py`.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from memo_assets.measures import psmi_loops
from memo_assets.measures.directions import Room
from memo_assets.measures.hadamard import HadamardDirections
from memo_assets.measures.psmi_sums import SPREAD_FLOOR
from memo_assets.measures.threads import in_threads

_ROUNDING = 1e-6  # least sd of a class, as a share of the length of its centred states: float32 is no finer
_CELLS = 2**25  # samples x directions held at once: 128 MB
_CENTRED_CELLS = 2**24  # numbers of hidden states centred at once: 64 MB; a product of fewer rows is slower
_MIXED_CELLS = 2**17  # numbers of hidden states mixed at once: what the second cache holds
_SMALL_PRODUCT = 2**18  # multiplications which BLAS does not share out to threads of its own
# What a thread takes at a time; results do not depend on how many there are. Sums of projections are kept by task.
_TASK_DIRECTIONS, _TASK_ROWS, _LEAST_TASK_ROWS, _MOST_TASKS = 250, 512, 128, 64


class FusedSums:
    """Statistics of the pointwise mutual information of N samples over directions, block of directions by block.

    The interface of `psmi_sums.TorchSums`. Projections are those of hidden states from which the mean was taken, so that
    nothing cancels in float32; moments of classes, and of a sample over directions, are summed in float64.
    """

    def __init__(
        self, states: torch.Tensor, class_of: np.ndarray, counts: np.ndarray, n_tail: int, *, room: Room
    ) -> None:
        self._states, self._class_of, self._counts = states.contiguous().numpy(), class_of, counts
        n = len(self._states)
        with np.errstate(over="ignore"):  # told with their lengths
            self._center = self._states.mean(axis=0)
        self._state_squares = np.empty(n)  # of the centred states, found with the first projections
        self.mean, self._squares = np.zeros(n), np.zeros(n)
        self._lowest, self._highest = (np.full((n, n_tail), np.inf, np.float32) for _ in range(2))
        self.seen = 0
        self._room = room

    def statistics(self) -> tuple[np.ndarray, ...]:
        """As `TorchSums.statistics`; the outermost values are float32."""
        return self.mean, self._squares, self._lowest, -self._highest

    def add(self, directions: torch.Tensor | HadamardDirections) -> None:
        """Take in directions: a matrix [K, d], which is rounded to float32, or drawn ones."""
        most = max(1, _CELLS // len(self._states))
        if isinstance(directions, HadamardDirections):
            for part in directions.parts(most):
                self._take(*self._fast_projections(part), part.lengths())
            return
        thetas = directions.numpy()
        for block in np.array_split(thetas, math.ceil(len(thetas) / most)):
            rounded = block.astype(np.float32, copy=False)
            lengths = np.sqrt(np.einsum("kd,kd->k", rounded, rounded))
            self._take(*self._projections(rounded), lengths)

    def _take(self, x: np.ndarray, moments: np.ndarray, lengths: np.ndarray) -> None:
        """Take in projections float32 [N, K], their sums and squares by class [2, C, K], on directions of these lengths."""
        (n, k), (sums, squares) = x.shape, moments
        n_c = self._counts[:, None].astype(np.float64)
        mean = sums / n_c
        variance = np.maximum(squares - sums * mean, 0) / (n_c - 1)
        total_sd = np.sqrt(np.maximum(squares.sum(axis=0) / n - (sums.sum(axis=0) / n) ** 2, 0))
        class_lengths = np.sqrt(np.bincount(self._class_of, self._state_squares, len(n_c)) / self._counts)
        rounding = _ROUNDING * class_lengths[:, None] * lengths
        sd = np.maximum(np.sqrt(variance), np.maximum(SPREAD_FLOOR * total_sd, rounding))
        sd[sd == 0] = 1.0
        log_prior = np.log(self._counts / n)
        scale, constant = math.sqrt(0.5) / sd, log_prior[:, None] - np.log(sd)
        fitted = tuple(part.astype(np.float32) for part in (mean, scale, constant, log_prior))
        found = (self.seen, self.mean, self._squares, self._lowest, self._highest)

        def rows(start: int) -> None:
            psmi_loops.rows(x, self._class_of, (start, min(start + _TASK_ROWS, n)), fitted, found)

        in_threads(rows, range(0, n, _TASK_ROWS))
        self.seen += k

    def _fast_projections(self, directions: HadamardDirections) -> tuple[np.ndarray, np.ndarray]:
        """Projections float32 [N, K] of the centred hidden states on drawn directions, in an order of their own.

        And their sums and squares float64 [2, C, K] by class, taken while a few rows are at hand.
        """
        out = self._room.array(len(self._states), len(directions))
        normals = directions.normals.astype(np.float32)
        scattering = directions.signs.astype(np.float32), directions.places
        r, c, n_blocks = normals.shape
        n_rows = max(1, min(_SMALL_PRODUCT // (c * n_blocks), _MIXED_CELLS // (r * c)))
        n_task = max(_LEAST_TASK_ROWS, math.ceil(len(out) / _MOST_TASKS))
        parts = np.zeros((math.ceil(len(out) / n_task), 2, len(self._counts), out.shape[1]))

        def project(task: int) -> None:
            for start in range(task * n_task, min((task + 1) * n_task, len(out)), n_rows):
                rows = slice(start, min(start + n_rows, (task + 1) * n_task))
                states = self._states[rows]
                mixed = np.empty((len(states), r, c), np.float32)
                psmi_loops.mix(states, self._center, scattering, mixed, self._state_squares[rows])
                sums = np.empty((len(states), r, n_blocks), np.float32)
                np.matmul(mixed.swapaxes(0, 1), normals, out=sums.swapaxes(0, 1))
                psmi_loops.spread(sums, directions.skip, out[rows])
                for first in range(0, out.shape[1], _TASK_DIRECTIONS):
                    psmi_loops.moments(
                        out[rows], self._class_of[rows], (first, first + _TASK_DIRECTIONS), *parts[task]
                    )

        in_threads(project, range(len(parts)))
        self._refuse_overflow()
        return out, parts.sum(axis=0)

    def _projections(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `_fast_projections`, on a matrix of directions [K, d]."""
        states = self._states
        out = self._room.array(len(states), len(thetas))
        n_rows = min(max(1, _CENTRED_CELLS // states.shape[1]), len(states))
        centred = np.empty((n_rows, states.shape[1]), np.float32)
        for start in range(0, len(states), n_rows):
            rows = slice(start, start + n_rows)
            block = np.subtract(states[rows], self._center, out=centred[: len(states) - start])
            self._state_squares[rows] = np.einsum("nd,nd->n", block, block)
            np.matmul(block, thetas.T, out=out[rows])
        self._refuse_overflow()
        found = np.zeros((2, len(self._counts), len(thetas)))

        def moments(start: int) -> None:
            psmi_loops.moments(out, self._class_of, (start, start + _TASK_DIRECTIONS), *found)

        in_threads(moments, range(0, len(thetas), _TASK_DIRECTIONS))
        return out, found

    def _refuse_overflow(self) -> None:
        """Raise where squared lengths of the centred hidden states are beyond float32."""
        if not (self._state_squares <= np.finfo(np.float32).max).all():
            raise ValueError(
                f"hidden holds values up to {np.abs(self._states).max():.3g}, whose squares exceed float32: pass the "
                "hidden states as float64, or divide them by a constant, on which no score depends."
            )
