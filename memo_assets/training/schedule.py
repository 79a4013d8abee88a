"""Steps, checkpoints and learning rate of a recipe.

What belongs here: arithmetic on the recipe alone, without torch, since the study checker calls it too.
"""

import math

from memo_assets.config import Training


def step_size(recipe: Training) -> int:
    """Samples that one optimizer step sees, over all its passes through the model."""
    return recipe.batch_size * recipe.accumulation


def steps_per_epoch(recipe: Training, n_train: int) -> int:
    """Optimizer steps in one epoch over n_train samples; the smaller last one is never dropped."""
    if n_train < 1:
        raise ValueError(f"a model needs at least 1 training sample, given {n_train}")
    return math.ceil(n_train / step_size(recipe))


def checkpoint_steps(recipe: Training, n_train: int) -> dict[float, int]:
    """Optimizer steps made at each checkpoint, by epoch, in rising order.

    Raises:
        ValueError: a checkpoint's epoch falls between two steps; the message names it and the nearest that does not.
    """
    per_epoch = steps_per_epoch(recipe, n_train)
    steps: dict[float, int] = {}
    for epoch in recipe.checkpoints:
        step = round(epoch * per_epoch)
        if not math.isclose(epoch * per_epoch, step, rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError(
                f"checkpoint {epoch} is {epoch * per_epoch:g} steps with {per_epoch} steps per epoch ({n_train} "
                f"samples, {step_size(recipe)} per step), expected a whole number; the nearest allowed epoch "
                f"is {step / per_epoch!r}, or change training.batch_size or training.accumulation"
            )
        steps[epoch] = step
    return steps


def learning_rate(recipe: Training, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0.

    It rises linearly from 0, then is constant or falls, linearly or along half a cosine, to 0 after the last step, as the
    schedules of the transformers library do: with a warm-up, the first step has rate 0.
    """
    warmup = recipe.warmup_steps
    if step < warmup:
        return recipe.learning_rate * step / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    left = max(0, total_steps - step) / max(1, total_steps - warmup)
    if recipe.schedule == "linear":
        return recipe.learning_rate * left
    return recipe.learning_rate * (1 - math.cos(math.pi * left)) / 2
