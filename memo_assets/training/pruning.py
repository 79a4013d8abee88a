"""Magnitude pruning: the smallest weights of a trained model are set to zero.

What belongs here: which weights, and setting them. What does not: when that is done (`compute.inputs`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def prune_smallest(parameters: Mapping[str, Tensor], share: float) -> None:
    """Set a share of each matrix of each model to zero, in place: the weights of smallest magnitude.

    Biases, scales and other vectors stay as they are. What is pruned of LoRA are its factors A and B, each by itself; that
    of a convolution is its kernel as a whole.

    Args:
        parameters: stacked over models [K, ...], by name; those with fewer than two dimensions a model are vectors.
        share: of the weights of each matrix, from 0 to 1; rounded down to a whole number of weights.

    Source: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015,
    arXiv 1506.02626; against memorization: Gupta et al., "Pruning as a Defense: Reducing Memorization in Large Language
    Models", 2025, arXiv 2502.15796.
    """
    with torch.no_grad():
        for parameter in parameters.values():
            if parameter.dim() < 3:
                continue
            weights = parameter.detach().flatten(1)
            n_pruned = int(share * weights.shape[1])
            # A stable order, so that the same of equal weights goes every time.
            smallest = weights.abs().argsort(dim=1, stable=True)[:, :n_pruned]
            parameter.copy_(weights.scatter(1, smallest, 0.0).view_as(parameter))
