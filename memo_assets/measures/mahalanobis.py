"""Mahalanobis distance of hidden states from those of the training samples, on their principal components.

Here belong the distance and its exact decomposition; the checks of hidden states are in `directions.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from memo_assets.measures.directions import hidden_tensor, row_blocks

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

_CELLS = 2**22  # float64 numbers of centred hidden states held at once: 32 MB


def mahalanobis(
    train: ArrayLike | torch.Tensor,
    target: ArrayLike | torch.Tensor | None = None,
    *,
    n_components: int = 100,
) -> np.ndarray:
    """Mahalanobis distance of every target sample from the mean of the training samples.

    Both are projected on the leading principal components of `train`, and the covariance of its projections is the
    empirical one (divided by N). The decomposition is exact and the same at every call: eigenvectors, in float64, of
    the products of the samples or of the dimensions, whichever are fewer. It runs on the device of `train`.

    `n_components` is an upper bound. A component counts only if it carries variance: at most N - 1 and d of them do,
    and one whose variance is below max(N, d) times the float64 rounding of the largest is taken for zero. What a
    target differs by outside of the components is not seen; where all training samples coincide every distance is 0.

    Args:
        train: [N, d], array or tensor: the hidden states of one layer that define mean and covariance, N >= 2.
        target: [M, d], the hidden states to measure; by default `train` itself.
        n_components: principal components to keep at most, at least 1.

    Returns:
        float64 [M], without unit (standard deviations), each at least 0.

    Raises:
        ValueError: on hidden states that are not two-dimensional or not finite, a target of another width, fewer than
            two training samples, or `n_components` below 1.

    Source: Mahalanobis, 1936; as a predictor of memorization on 100 components of the hidden states, Dentan et al.,
    ECAI 2025, arXiv 2409.18858.
    """
    import torch

    if n_components < 1:
        raise ValueError(
            f"n_components is {n_components}: at least 1 principal component is needed (100 is usual)."
        )
    states = hidden_tensor(train, "train")
    if len(states) < 2:
        raise ValueError(
            "train holds 1 sample: mean and covariance need at least 2, pass more training samples."
        )
    measured = states if target is None else hidden_tensor(target, "target").to(states.device)
    if measured.shape[1] != states.shape[1]:
        raise ValueError(
            f"target has width {measured.shape[1]} but train has width {states.shape[1]}: "
            "pass hidden states of the same layer of the same model."
        )
    center = states.mean(dim=0, dtype=torch.float64)
    whitening = _whitening(states, center, n_components)
    distances = [
        torch.linalg.vector_norm((rows.double() - center) @ whitening, dim=1)
        for rows in row_blocks(measured, _CELLS)
    ]
    return torch.cat(distances).cpu().numpy()


def _whitening(states: torch.Tensor, center: torch.Tensor, n_components: int) -> torch.Tensor:
    """Matrix [d, R] from centred hidden states to principal components of unit variance, R <= `n_components`."""
    import torch

    n, d = states.shape
    most = min(n_components, n - 1, d)
    # Squared singular values of the centred states, ascending, and their vectors.
    if n < d:
        centred = states.double() - center
        squares, vectors = _largest(centred @ centred.T, most)
    else:
        centred = None
        squares, vectors = _largest(_products(states, center), most)
    rounding = torch.finfo(torch.float64).eps
    # The second bound is what rounding leaves of hidden states that are all the same.
    least = max(
        rounding * max(n, d) * squares[-1].item(), n * d * (rounding * center.abs().max().item()) ** 2
    )
    kept = squares > least
    squares, vectors = squares[kept], vectors[:, kept]
    if centred is None:
        return vectors * (n / squares).sqrt()
    return centred.T @ vectors * (math.sqrt(n) / squares)


def _products(states: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Products float64 [d, d] of all centred dimensions with each other; on a processor only the lower half counts."""
    import torch
    from scipy.linalg import get_blas_funcs

    d = states.shape[1]
    if states.device.type == "cpu":  # half of the products, which torch cannot leave out
        (add_products,) = get_blas_funcs(("syrk",), dtype=np.float64)
        half = np.zeros((d, d), order="F")
        for rows in row_blocks(states, _CELLS):
            half = add_products(
                1.0, (rows.double() - center).numpy().T, beta=1.0, c=half, overwrite_c=True, lower=True
            )
        return torch.from_numpy(half)
    gram = torch.zeros(d, d, dtype=torch.float64, device=states.device)
    for rows in row_blocks(states, _CELLS):
        block = rows.double() - center
        gram.addmm_(block.T, block)
    return gram


def _largest(gram: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `n` largest eigenvalues, ascending, and their eigenvectors; of a matrix on a processor the lower half is read."""
    import torch
    from scipy.linalg import eigh

    if gram.device.type == "cpu":  # only the vectors that are asked for
        size = len(gram)
        values, vectors = eigh(
            gram.numpy(), subset_by_index=(size - n, size - 1), overwrite_a=True, check_finite=False
        )
        return torch.from_numpy(values), torch.from_numpy(np.ascontiguousarray(vectors))
    values, vectors = torch.linalg.eigh(gram)
    return values[-n:], vectors[:, -n:]
