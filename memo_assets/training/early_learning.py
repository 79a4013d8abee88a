"""Early-learning regularization: what K models believed of each sample, and how far they move away from it.

What belongs here: the running averages and the term that they add to the losses. What does not: where the probabilities
come from (`language`, `vision`), how averages outlive a killed run (they are buffers of the task).
"""

import torch
from torch import Tensor

from memo_assets.config import Elr

_LEAST = 1e-4  # probabilities are kept away from 0 and 1, as published


class EarlyLearning:
    """Running averages of the K models' probabilities, and the regularizer.

    Args:
        settings: weight and momentum.
        n_models: K.
        n_samples: N, of the data set.
        n_options: C, most options of a sample, or classes.
        device: of the models.

    Source: Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020,
    arXiv 2007.00151, equations 6 and 9.
    """

    def __init__(
        self, settings: Elr, *, n_models: int, n_samples: int, n_options: int, device: torch.device
    ) -> None:
        self._settings = settings
        self.targets = torch.zeros(n_models, n_samples, n_options, device=device)

    def penalty(self, option_logits: Tensor, rows: Tensor) -> Tensor:
        """Weight * log(1 - <p, t>) of each sample, [K, b], with gradient; the averages t take p in first.

        Args:
            option_logits: [K, b, C'], C' at most C; -inf beyond the options of a sample.
            rows: int64 [K, b], positions of the samples in the data set, each once a model.
        """
        beta, models = self._settings.momentum, torch.arange(len(rows), device=rows.device)[:, None]
        there = option_logits > -torch.inf
        p = option_logits.softmax(dim=2).clamp(_LEAST, 1 - _LEAST) * there
        n_options = p.shape[2]
        with torch.no_grad():
            share = p / p.sum(dim=2, keepdim=True)
            now = beta * self.targets[models, rows, :n_options] + (1 - beta) * share
            self.targets[models, rows, :n_options] = now
        return self._settings.weight * torch.log(1 - (now * p).sum(dim=2))
