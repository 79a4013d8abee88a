"""The optimizer of a recipe, and what of it a run needs to go on.

What belongs here: making it, the tensors that it keeps for every parameter, and putting them back. What does not: the
file that holds them (`state`), the steps (`loop`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from memo_assets.config import Training


def make_optimizer(parameters: Mapping[str, nn.Parameter], recipe: Training) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, over the parameters; torch's own, in one fused step.

    Args:
        parameters: by name.
        recipe: the training recipe.
    """
    trained = list(parameters.values())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            trained,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def moments(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What the optimizer remembers of a parameter's gradients, by its own names; zeros before the first step."""
    stored = optimizer.state.get(parameter, {})
    return {
        name: torch.zeros_like(parameter) if stored.get(name) is None else stored[name]
        for name in _names(optimizer)
    }


def restore_moments(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, stored: Mapping[str, Tensor], *, step: int
) -> None:
    """Put back what `moments` gave after some steps, at least one.

    Args:
        optimizer: a new one, made by the same recipe.
        parameter: one of its parameters.
        stored: by name, on any device; other names are left alone.
        step: steps made.
    """
    kept = {name: stored[name].to(parameter.device) for name in _names(optimizer)}
    if isinstance(optimizer, torch.optim.AdamW):
        kept["step"] = torch.tensor(float(step), device=parameter.device)
    optimizer.state[parameter] = kept


def _names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    if isinstance(optimizer, torch.optim.AdamW):
        return ("exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if optimizer.defaults["momentum"] else ()
