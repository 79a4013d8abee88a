"""Many multi-layer perceptrons of one shape, trained from scratch side by side.

What belongs here: the stacked network and its initial weights. What does not: the file of one model
(`packed_network`), data and losses (`training`).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from memo_assets.models.packed_lora import seeded_generator
from memo_assets.models.packed_network import PackedNetwork

_INIT = 3


class PackedMlp(PackedNetwork):
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
        super().__init__(seeds)
        k = len(seeds)
        self.weights = nn.ParameterList([torch.empty(k, n_out, n_in) for n_in, n_out in pairwise(widths)])
        self.biases = nn.ParameterList([torch.empty(k, n_out) for n_out in widths[1:]])
        generators = [seeded_generator(seed, _INIT) for seed in seeds]
        with torch.no_grad():
            for weight, bias in zip(self.weights, self.biases, strict=True):
                bound = 1 / math.sqrt(weight.shape[2])
                for i, generator in enumerate(generators):
                    nn.init.kaiming_uniform_(weight[i], a=math.sqrt(5), generator=generator)
                    bias[i].uniform_(-bound, bound, generator=generator)

    @property
    def n_inputs(self) -> int:
        """Values of one sample."""
        return self.weights[0].shape[2]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.weights[-1].shape[1]

    @property
    def n_widest(self) -> int:
        """Values of one sample in the widest layer."""
        return max(bias.shape[1] for bias in self.biases)

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
