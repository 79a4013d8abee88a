"""Norms of the gradients of K models, each by itself."""

import torch
from torch import Tensor


def clip_per_model(gradients: list[Tensor], max_norm: float | None) -> Tensor:
    """Scale each model's gradient, in place, to a norm of at most max_norm.

    Args:
        gradients: stacked [K, ...], one per parameter.
        max_norm: largest Euclidean norm over all parameters of one model; None leaves them as they are.

    Returns:
        The norms before clipping, [K].
    """
    by_model = [gradient.flatten(1) for gradient in gradients]
    norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in by_model]).norm(dim=0)
    if max_norm is None:
        return norms
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1)
    if bool((factors < 1).any()):
        for gradient in by_model:
            gradient.mul_(factors)
    return norms
