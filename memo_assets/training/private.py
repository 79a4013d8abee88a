"""DP-SGD: the gradient of a step from each sample's own, clipped, with noise.

What belongs here: the gradient. What does not: what it promises (`privacy`), the optimizer (`loop`).

Samples go through the pack one at a time, one of every model in a pass. A pass leaves the gradient of one sample for each
model, which is clipped and added up: exact for any model whose samples do not look at each other, in the memory of a
batch of one, at the price of as many passes as a batch has samples.
"""

import numpy as np
import torch
from torch import Tensor

from memo_assets.config import Dp
from memo_assets.models.packed_lora import seeded_generator
from memo_assets.training.gradients import clip_per_model
from memo_assets.training.task import Task

_NOISE = 31


def private_gradients(task: Task, rows: np.ndarray, dp: Dp, *, step: int, first_pass: int) -> Tensor:
    """Put the noisy mean of clipped gradients into `.grad` of what is trained.

    Args:
        task: K models whose `.grad` are None.
        rows: int64 [K, b], the batch of each model.
        dp: noise and clipping norm.
        step: of the run; the noise of each model is drawn from its split seed and the step alone.
        first_pass: number of the batch's first pass, as `Task.losses` takes it; those of the others follow.

    Returns:
        The training losses [K, b], without gradient.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv 1607.00133, algorithm 1.
    """
    parameters = list(task.parameters().values())
    total = [torch.zeros_like(parameter) for parameter in parameters]
    losses: list[Tensor] = []
    for place in range(rows.shape[1]):
        loss = task.losses(rows[:, place : place + 1], first_pass + place)
        loss.sum().backward()
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        clip_per_model(gradients, dp.max_norm)
        for running, gradient in zip(total, gradients, strict=True):
            running.add_(gradient)
        for parameter in parameters:
            parameter.grad = None
        losses.append(loss.detach())
    generators = [seeded_generator(seed, _NOISE, step) for seed in task.seeds]
    sd = dp.noise_multiplier * dp.max_norm
    for parameter, gradient in zip(parameters, total, strict=True):
        noise = torch.stack(
            [torch.randn(parameter.shape[1:], generator=generator) for generator in generators]
        )
        parameter.grad = gradient.add_(noise.to(gradient), alpha=sd).div_(rows.shape[1])
    return torch.cat(losses, dim=1)
