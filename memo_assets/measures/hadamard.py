"""Random directions that need no matrix product: Hadamard transforms of normal vectors.

What belongs here: how such directions are drawn, and projections on them by torch, on any device. The same projections of
float32 states on processors are in `psmi_loops.py`; what is computed from projections belongs to the measures.

Hidden states h of width d get random signs s, go to random places among w = r x c (powers of two; zeros elsewhere), and are
mixed once, x = H place(s * h), with H the Hadamard matrix of width w. A block of r directions has one vector g of w normal
numbers; its direction k projects h on sum_j H_r[k, j] sum_i g[j, i] x[j, i] / w, with H_r the Hadamard matrix of width r. So

- every direction is a vector of independent normal numbers, and is uniform on the sphere but for its length: a Hadamard
  matrix over the root of its width is orthogonal, and signs leave normal numbers normal;
- directions of one block share the sizes of the numbers in g. Mixing spreads every dimension of the states over all of g, so
  that little of a score's variance comes of it: about 2 / c of it, for a score that is quadratic in the direction;
- projections on K directions take about w (log w + K / r) + K log r additions and products in the place of d K.

Hadamard transforms in the place of normal matrices: Le, Sarlos and Smola, "Fastfood", ICML 2013. Here the transform comes last,
on normal numbers of each block's own, so that the distribution of a direction is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_LEAST_WIDTH = 256  # narrow states are filled up: c = 16


@dataclass(frozen=True)
class HadamardDirections:
    """Some of the directions that a seed draws for hidden states of one width.

    Attributes:
        signs: float64 [d], random signs over w.
        places: int64 [d], random places among w.
        normals: float64 [r, c, B], g of the blocks that hold the directions.
        skip: directions of the first block that come before the first one here.
        n: K, how many there are.
    """

    signs: np.ndarray
    places: np.ndarray
    normals: np.ndarray
    skip: int
    n: int

    @classmethod
    def drawn(cls, dim: int, seed: int, start: int, stop: int) -> HadamardDirections:
        """Directions numbered `start` up to `stop`; the numbers of a block come from a random stream of its own."""
        width = max(_LEAST_WIDTH, 1 << (dim - 1).bit_length())
        r = 1 << (width.bit_length() - 1) // 2
        mixing = np.random.default_rng([seed, 0])
        signs, places = mixing.choice([-1.0, 1.0], dim) / width, mixing.permutation(width)[:dim]
        blocks = range(start // r, math.ceil(stop / r))
        normals = np.empty((r, width // r, len(blocks)))
        for place, block in enumerate(blocks):
            stream = np.random.default_rng([seed, 1 + block])
            normals[:, :, place] = stream.standard_normal(normals.shape[:2])
        return cls(signs, places, normals, start % r, stop - start)

    def __len__(self) -> int:
        return self.n

    @property
    def width(self) -> int:
        """d, the width of the hidden states."""
        return len(self.signs)

    def parts(self, most: int) -> Iterator[HadamardDirections]:
        """The same directions in parts of `most` or fewer, about equal ones."""
        n_parts = math.ceil(self.n / most)
        r = self.normals.shape[0]
        for part in range(n_parts):
            start, stop = (self.skip + self.n * end // n_parts for end in (part, part + 1))
            blocks = slice(start // r, math.ceil(stop / r))
            yield replace(self, normals=self.normals[:, :, blocks], skip=start % r, n=stop - start)

    def projector(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """What gives the projections [N, K] of states float64 [N, d] on a device; for any number of blocks of rows."""
        import torch

        r, c, n_blocks = self.normals.shape
        arrays = self.signs, self.places, self.normals, matrix(r), matrix(c)
        signs, places, normals, rows, columns = (torch.from_numpy(array).to(device) for array in arrays)

        def project(states: torch.Tensor) -> torch.Tensor:
            placed = states.new_zeros(len(states), r * c)
            placed[:, places] = states * signs
            mixed = columns @ placed.view(-1, c, r) @ rows
            summed = mixed.permute(2, 0, 1) @ normals  # [r, N, B]
            blocks = summed.permute(1, 2, 0) @ rows  # [N, B, r]
            return blocks.reshape(-1, n_blocks * r)[:, self.skip : self.skip + self.n]

        return project

    def lengths(self) -> np.ndarray:
        """float64 [K]: of every direction, the root of its expected squared length, which is 1 where d = w."""
        return np.full(self.n, math.sqrt(self.width / self.normals[:, :, 0].size))


def matrix(width: int) -> np.ndarray:
    """The Hadamard matrix float64 [width, width] in Sylvester's order; `width` is a power of two."""
    from scipy.linalg import hadamard

    return hadamard(width).astype(np.float64)
