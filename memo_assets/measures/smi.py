"""Sliced mutual information (SMI): how much one layer's hidden states tell about the labels, over a whole data set.

Here belong the score and its nearest-neighbour estimator; directions and checks are in `directions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma

from memo_assets.measures.directions import HIGH, LOW, class_index, direction_tensor, hidden_tensor

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

_CELLS = 2**20  # samples x directions held at once: some 8 MB of float64 per array


@dataclass(frozen=True)
class Smi:
    """Sliced mutual information of a data set in nats.

    Attributes:
        mean: over directions, the score itself.
        low: 1 % quantile over directions.
        high: 99 % quantile over directions.
        per_direction: float64 [K], mutual information on each direction.
    """

    mean: float
    low: float
    high: float
    per_direction: np.ndarray


def smi(
    hidden: ArrayLike | torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    *,
    directions: ArrayLike | torch.Tensor | None = None,
    n_directions: int = 2000,
    n_neighbors: int = 3,
    seed: int = 0,
) -> Smi:
    """Sliced mutual information between hidden states and labels.

    On each direction the mutual information of the projections and the labels is estimated from nearest neighbours:
    digamma(N) + <digamma(k)> - <digamma(N_y)> - <digamma(m)>, where m counts the samples (the point among them)
    nearer to a point than its k-th neighbour in its own class; an estimate below 0 becomes 0. Ties are broken as in
    scikit-learn, by normal noise 1e-10 times the projections, divided by their standard deviation beforehand:
    each direction has the value of `mutual_info_classif(projection, labels, random_state=seed)`.
    The exception is a class of fewer than 2 k + 2 samples: there scikit-learn rounds distances coarsely and may count
    a neighbour too many, while here they stay exact.

    Projections are made in the dtype of `hidden`, the rest in float64, on its device, in blocks of directions.

    Args:
        hidden: [N, d], array or tensor: the hidden states of one layer at the position that predicts the answer.
        labels: [N], the label given to each sample.
        directions: [K, d] to project on; drawn by `unit_directions` if None.
        n_directions: K, where they are drawn.
        n_neighbors: k, at least 1; a class of n samples uses at most n - 1.
        seed: of the directions and of the noise.

    Returns:
        Smi.

    Raises:
        ValueError: on shapes that disagree, hidden states that are not finite, fewer than two classes, a class with
            fewer than two samples, no direction, directions of another width, or `n_neighbors` below 1.

    Source: Goldfeld and Greenewald, "Sliced Mutual Information: A Scalable Measure of Statistical Dependence",
    NeurIPS 2021; the estimator is Ross, "Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 2014.
    """
    import torch

    if n_neighbors < 1:
        raise ValueError(f"n_neighbors is {n_neighbors}: at least 1 neighbour is needed (3 is usual).")
    states = hidden_tensor(hidden)
    n_samples = len(states)
    index, counts = class_index(labels, n_samples)
    thetas = direction_tensor(directions, states, n_directions, seed=seed).to(states.dtype)

    device = states.device
    class_of = torch.from_numpy(index).to(device)
    noise = torch.from_numpy(1e-10 * np.random.RandomState(seed).standard_normal(n_samples)).to(device)
    neighbors = np.minimum(n_neighbors, counts - 1)
    # Every count is a whole number from 1 to N: digamma is a table.
    table = torch.from_numpy(digamma(np.arange(1, n_samples + 1))).to(device)
    known = float(digamma(n_samples) + np.average(digamma(neighbors) - digamma(counts), weights=counts))
    blocks = []
    for block in thetas.split(max(1, _CELLS // n_samples)):
        x = (block @ states.T).double()
        sd = x.std(dim=1, correction=0, keepdim=True)
        x /= torch.where(sd < 10 * torch.finfo(x.dtype).eps, 1.0, sd)
        x += x.abs().mean(dim=1, keepdim=True).clamp(min=1) * noise
        ordered, order = x.sort(dim=1)
        radius = _class_radius(ordered, class_of[order], counts.tolist(), neighbors=neighbors.tolist())
        nearer = _count_within(ordered, torch.nextafter(radius, torch.zeros_like(radius)))
        blocks.append(known - table[nearer - 1].mean(dim=1))
    per_direction = torch.cat(blocks).clamp(min=0).cpu().numpy()
    low, high = np.quantile(per_direction, (LOW, HIGH))
    return Smi(float(per_direction.mean()), float(low), float(high), per_direction)


def _class_radius(
    ordered: torch.Tensor, class_of: torch.Tensor, counts: list[int], *, neighbors: list[int]
) -> torch.Tensor:
    """Distance of each point to the k-th nearest other point of its class.

    `ordered` float64 [K, N] are points in ascending order and `class_of` [K, N] their classes; class c has `counts[c]`
    points in every row and uses k = `neighbors[c]`.
    """
    import torch

    radius = torch.empty_like(ordered)
    for c, (n, k) in enumerate(zip(counts, neighbors, strict=True)):
        position = (class_of == c).nonzero()[:, 1].view(-1, n)
        x = ordered.gather(1, position)
        # A point and its k nearest are k + 1 points in a row: the best of the runs that hold the point.
        nearest = torch.full_like(x, torch.inf)
        first, last = x[:, : n - k], x[:, k:]
        for place in range(k + 1):
            run = slice(place, n - k + place)
            reach = torch.maximum(x[:, run] - first, last - x[:, run])
            nearest[:, run] = torch.minimum(nearest[:, run], reach)
        radius.scatter_(1, position, nearest)
    return radius


def _count_within(ordered: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """How many points of its row lie within its radius of each point, itself among them; all [K, N]."""
    below = _first_within(ordered, radius)
    above = _first_within(-ordered.flip(1), radius.flip(1)).flip(1)
    return ordered.shape[1] - above - below


def _first_within(ordered: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Position in its row of the lowest point within its radius of each point."""
    import torch

    position = torch.searchsorted(ordered, ordered - radius)
    # point - radius is rounded, and the k-th neighbour lies just outside of the radius: the difference decides.
    while (
        more := (position > 0) & (ordered - ordered.gather(1, (position - 1).clamp(min=0)) <= radius)
    ).any():
        position -= more.long()
    while (fewer := ordered - ordered.gather(1, position) > radius).any():
        position += fewer.long()
    return position
