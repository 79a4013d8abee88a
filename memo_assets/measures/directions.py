"""What the sliced measures share: unit directions to project on, and the checks of what is projected.

Here belong the drawing of directions and the reading of hidden states and labels. What is computed from a
projection belongs to the measure: `psmi.py`, `smi.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from memo_assets.measures.threads import in_threads

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, DTypeLike

LOW, HIGH = 0.01, 0.99
"""The quantiles over directions which the sliced measures report."""

_STREAM = 125  # directions drawn from one random stream
_SUM_CELLS = 2**21  # numbers a thread sums at a time


def unit_directions(n_directions: int, dim: int, seed: int = 0) -> np.ndarray:
    """Draw directions uniformly on the unit sphere.

    Normal vectors divided by their length (Marsaglia, Annals of Mathematical Statistics 43, 1972). They come from
    numpy on every device, and the first K of a larger draw are the draw of K: more directions refine a score.

    Args:
        n_directions: K, at least 1.
        dim: d, the width of the hidden states, at least 1.
        seed: of the draw, at least 0; the same seed gives the same directions, on any number of threads.

    Returns:
        float64 [K, d], rows of length 1.

    Raises:
        ValueError: if `n_directions` or `dim` is below 1.
    """
    check_count(n_directions)
    if dim < 1:
        raise ValueError(f"The hidden states have width {dim}: a direction needs at least one dimension.")
    out = np.empty((n_directions, dim))

    def draw(start: int) -> None:
        rows = out[start : start + _STREAM]
        stream = np.random.default_rng([seed, start // _STREAM])
        normal = stream.standard_normal(rows.shape)
        np.divide(normal, np.sqrt(np.einsum("kd,kd->k", normal, normal))[:, None], out=rows)

    in_threads(draw, range(0, n_directions, _STREAM))
    return out


class Room:
    """Memory for projections that is used again and again: fresh memory costs as much as what is computed in it."""

    def __init__(self) -> None:
        self._numbers = np.empty(0, np.float32)

    def array(self, n: int, k: int) -> np.ndarray:
        """float32 [n, k] with any content; the array asked for before is no longer to be used."""
        if self._numbers.size < n * k:
            self._numbers = np.empty(n * k, np.float32)
        return self._numbers[: n * k].reshape(n, k)


def check_count(n_directions: int) -> None:
    """Raise ValueError unless at least one direction is asked for."""
    if n_directions < 1:
        raise ValueError(f"n_directions is {n_directions}: at least one direction is needed (2000 is usual).")


def hidden_tensor(hidden: ArrayLike | torch.Tensor, name: str = "hidden") -> torch.Tensor:
    """Read hidden states [N, d] as a float32 or float64 tensor, on the device they are on.

    Half precision becomes float32, whole numbers float64. Nothing is copied where the dtype already fits.

    Args:
        hidden: array or tensor [N, d].
        name: what an error calls it.

    Returns:
        Tensor [N, d] without gradient.

    Raises:
        ValueError: if it is not two-dimensional, is empty, or holds nan or inf (and in how many rows).
    """
    import torch

    if isinstance(hidden, torch.Tensor):
        states = hidden.detach()
    else:
        states = torch.from_numpy(np.require(hidden, requirements=["C", "W"]))
    if states.ndim != 2 or 0 in states.shape:
        raise ValueError(
            f"{name} has shape {tuple(states.shape)}; expected [samples, width], neither of them 0: "
            "pass one row per sample."
        )
    if not states.is_floating_point():
        states = states.double()
    elif states.dtype not in (torch.float32, torch.float64):
        states = states.float()
    suspect = ~torch.isfinite(_row_sums(states))  # a sum of finite numbers may overflow, no other is finite
    bad = int((~torch.isfinite(states[suspect]).all(dim=1)).sum())
    if bad:
        raise ValueError(
            f"{name} holds nan or inf in {bad} of its {len(states)} rows; expected finite values: leave these "
            "samples out, or run the forward pass in a wider precision (bfloat16 or float32 instead of float16)."
        )
    return states


def _row_sums(states: torch.Tensor) -> torch.Tensor:
    """Sum of each row [N]; on processors by threads that end, where torch's own would wait and keep a core busy."""
    import torch

    if states.device.type != "cpu":
        return states.sum(dim=1)
    rows, sums = states.numpy(), np.empty(len(states), states.numpy().dtype)
    n_rows = max(1, _SUM_CELLS // states.shape[1])

    def add(start: int) -> None:
        with np.errstate(all="ignore"):
            rows[start : start + n_rows].sum(axis=1, out=sums[start : start + n_rows])

    in_threads(add, range(0, len(rows), n_rows))
    return torch.from_numpy(sums)


def row_blocks(states: torch.Tensor, cells: int) -> tuple[torch.Tensor, ...]:
    """Hidden states [N, d] in blocks of rows, for what is to be held in float64.

    Args:
        states: tensor [N, d].
        cells: numbers in a block, at most; one row where that is longer.
    """
    return states.split(max(1, cells // states.shape[1]))


def direction_tensor(
    directions: ArrayLike | torch.Tensor | None,
    hidden: torch.Tensor,
    n_directions: int,
    *,
    seed: int,
) -> torch.Tensor:
    """Take the directions given, or draw `n_directions` of them, on the device of `hidden`.

    Args:
        directions: [K, d], used as they are (neither PSMI nor SMI depends on their length), or None.
        hidden: tensor [N, d].
        n_directions: how many to draw where none are given.
        seed: of that draw.

    Returns:
        Tensor float64 [K, d].

    Raises:
        ValueError: if no direction is asked for, or those given have another width or hold nan or inf.
    """
    import torch

    if directions is None:
        return torch.from_numpy(unit_directions(n_directions, hidden.shape[1], seed)).to(hidden.device)
    return given_directions(directions, hidden)


def given_directions(
    directions: ArrayLike | torch.Tensor, hidden: torch.Tensor, dtype: DTypeLike = np.float64
) -> torch.Tensor:
    """Read the directions given, on the device of `hidden`.

    Args:
        directions: [K, d].
        hidden: tensor [N, d].
        dtype: float64 or float32, of what is returned.

    Returns:
        Tensor [K, d].

    Raises:
        ValueError: if they have another width or hold nan or inf.
    """
    import torch

    width = hidden.shape[1]
    given = hidden_tensor(directions, "directions")
    if given.shape[1] != width:
        raise ValueError(
            f"directions have width {given.shape[1]} but the hidden states have width {width}: "
            "pass directions [K, width of the hidden states], or None to draw them."
        )
    wanted = torch.float32 if dtype == np.float32 else torch.float64
    return given.to(device=hidden.device, dtype=wanted)


def class_index(
    labels: ArrayLike | torch.Tensor, n_samples: int, classes: Sequence | np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Number the class of every sample.

    Args:
        labels: [N], the answer given to each sample: token ids or any values numpy can sort.
        n_samples: N, the number of hidden states.
        classes: the classes to model, in the order to number them; by default the sorted distinct labels.

    Returns:
        (class of each sample int64 [N], samples per class int64 [C]).

    Raises:
        ValueError: if the shapes disagree, a label is not among `classes` or a class is named twice, there are
            fewer than two classes, or a class has fewer than two samples.
    """
    import torch

    given = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if given.shape != (n_samples,):
        raise ValueError(
            f"labels have shape {given.shape} but there are {n_samples} hidden states: "
            f"pass one label per sample, shape ({n_samples},)."
        )
    present, index = np.unique(given, return_inverse=True)
    if classes is None:
        modelled = present
    else:
        modelled = np.asarray(classes)
        if len(np.unique(modelled)) != len(modelled):
            raise ValueError(f"classes {modelled.tolist()} name a class twice: name each class once.")
        strangers = present[~np.isin(present, modelled)].tolist()
        if strangers:
            raise ValueError(
                f"labels hold {strangers}, which are not among the classes {modelled.tolist()}: "
                "add them to classes, or leave these samples out."
            )
        sorter = np.argsort(modelled)
        index = sorter[np.searchsorted(modelled, present, sorter=sorter)][index]
    if len(modelled) < 2:
        raise ValueError(
            f"All samples have the one class {modelled.tolist()}: information about the label needs at least two."
        )
    counts = np.bincount(index, minlength=len(modelled))
    if counts.min() < 2:
        small = {modelled.tolist()[c]: int(counts[c]) for c in np.flatnonzero(counts < 2)}
        raise ValueError(
            "Every class needs at least 2 samples to estimate its spread, but too few were given of (class: "
            f"samples) {small}: leave these samples out, merge the class with another, or take more samples."
        )
    return index, counts
