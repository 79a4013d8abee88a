"""Many multi-layer perceptrons of one shape, trained from scratch side by side.

What belongs here: the stacked network, its initial weights, and the file of one model. What does not: data and losses
(`training`), where models lie (`store`).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memo_assets.models.packed_lora import seeded_generator

_INIT = 3


class PackedMlp(nn.Module):
    """K perceptrons with ReLU: weights [K, out, in] and biases [K, out] per layer.

    Weights and biases start as those of `torch.nn.Linear`; each split seed draws them layer by layer from its own
    CPU generator, so they do not depend on the pack.

    Args:
        widths: input width, the hidden widths, number of classes.
        seeds: split seeds of the pack, each once.

    Raises:
        ValueError: no seeds, or a seed given twice.
    """

    def __init__(self, widths: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"a pack needs split seeds, each once; given {list(seeds)}")
        k = len(seeds)
        self.seeds = tuple(seeds)
        self.weights = nn.ParameterList([torch.empty(k, n_out, n_in) for n_in, n_out in pairwise(widths)])
        self.biases = nn.ParameterList([torch.empty(k, n_out) for n_out in widths[1:]])
        generators = [seeded_generator(seed, _INIT) for seed in seeds]
        with torch.no_grad():
            for weight, bias in zip(self.weights, self.biases, strict=True):
                bound = 1 / math.sqrt(weight.shape[2])
                for i, generator in enumerate(generators):
                    nn.init.kaiming_uniform_(weight[i], a=math.sqrt(5), generator=generator)
                    bias[i].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Class logits and hidden activations.

        Args:
            x: [K, b, d], each model its own inputs.

        Returns:
            logits [K, b, classes], and per hidden layer the activations after ReLU [K, b, width].
        """
        hidden: list[Tensor] = []
        last = len(self.weights) - 1
        # Columns are samples throughout, so that weight gradients come out as the weights lie and are not copied.
        x = x.transpose(1, 2)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias.unsqueeze(2), weight, x)
            if i < last:
                x = torch.relu(x)
                hidden.append(x.transpose(1, 2))
        return x.transpose(1, 2), hidden

    def save(self, k: int, path: Path) -> None:
        """Write model k of the pack as safetensors, by a temporary name and a rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        tensors = {name: p.detach()[k].to("cpu", copy=True) for name, p in self.named_parameters()}
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.replace(path)

    def load(self, k: int, path: Path) -> None:
        """Read a model written by `save` into slot k.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the stored model has another shape.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no model file {path}")
        stored = load_file(path)
        shapes = {name: tuple(p.shape[1:]) for name, p in self.named_parameters()}
        found = {name: tuple(t.shape) for name, t in stored.items()}
        if found != shapes:
            raise ValueError(f"the model in {path} has shapes {found}, expected {shapes}")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter[k].copy_(stored[name])
