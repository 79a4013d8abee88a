"""Many wide residual networks of one shape, trained from scratch side by side.

What belongs here: the stacked network and its initial weights. What does not: the file of one model
(`packed_network`), data, augmentation and losses (`training`).

Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv 1605.07146): a 3 x 3 convolution to 16 channels, three
groups of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64 x width channels, of which the second and the third
halve the resolution, batch norm, ReLU, global average pooling and a linear layer; no dropout.

The feature maps of all models lie side by side as [b, K * C, H, W], so that one grouped convolution serves them all and
batch norm, whose statistics are those of a channel, keeps the models apart. On one CPU thread a pack of 8 takes .76 of
the time of single networks if they are small (depth 10, width 1, 8 x 8 pixels), and 1.30 of it if they are large (depth
16, width 4, 32 x 32): `benchmarks/wide_resnet_packs.py`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from memo_assets.config import WideResNet
from memo_assets.models.packed_lora import seeded_generator
from memo_assets.models.packed_network import PackedNetwork

_INIT = 3
_FIRST = 16  # channels of the first convolution


class PackedWideResNet(PackedNetwork):
    """K wide residual networks.

    Convolutions start with normal weights of variance 2 / (side^2 x channels out) (He et al., ICCV 2015, section 2.2,
    backward case), the linear layer as that of `torch.nn.Linear` but with biases of 0; each split seed draws them layer
    by layer from its own CPU generator, so they do not depend on the pack. Pixels from 0 to 1 are read as -1 to 1. They
    are not normalised by the data: batch norm follows the first convolution.

    Args:
        image_shape: channels, height, width.
        n_classes: number of classes.
        depth: number of layers, 4 more than a multiple of 6.
        width: how many times 16, 32 and 64 channels the groups have.
        seeds: split seeds of the pack, each once.

    Raises:
        ValueError: no seeds, or a seed given twice; images that are too small.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        depth: int,
        width: int,
        seeds: Sequence[int],
    ) -> None:
        super().__init__(seeds)
        if min(image_shape[1:]) < WideResNet.min_side:
            raise ValueError(
                f"images of {image_shape[1]} x {image_shape[2]} pixels given; model.kind wide_resnet halves them twice "
                f"and takes at least {WideResNet.min_side} x {WideResNet.min_side}: use model.kind mlp"
            )
        k = len(seeds)
        self._image_shape = image_shape
        self._widest_channels = _FIRST * width
        self.conv = _Convolution(k, image_shape[0], _FIRST)
        self.groups = nn.ModuleList()
        n_in = _FIRST
        for place in range(3):
            n_out = _FIRST * 2**place * width
            strides = [1 if place == 0 else 2, *[1] * ((depth - 4) // 6 - 1)]
            blocks = [_Block(k, n_out if i else n_in, n_out, stride) for i, stride in enumerate(strides)]
            self.groups.append(nn.Sequential(*blocks))
            n_in = n_out
        self.norm = _BatchNormRelu(k, n_in)
        self.weight = nn.Parameter(torch.empty(k, n_classes, n_in))
        self.bias = nn.Parameter(torch.zeros(k, n_classes))
        convolutions = [module for module in self.modules() if isinstance(module, _Convolution)]
        with torch.no_grad():
            for i, seed in enumerate(seeds):
                generator = seeded_generator(seed, _INIT)
                for module in convolutions:
                    nn.init.kaiming_normal_(
                        module.weight[i], mode="fan_out", nonlinearity="relu", generator=generator
                    )
                nn.init.kaiming_uniform_(self.weight[i], a=math.sqrt(5), generator=generator)

    @property
    def n_inputs(self) -> int:
        """Values of one image."""
        return math.prod(self._image_shape)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.bias.shape[1]

    @property
    def n_widest(self) -> int:
        """Values of one image in the first group, before the resolution is halved."""
        _, height, width = self._image_shape
        return self._widest_channels * height * width

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Class logits and pooled activations.

        Batch norm takes the statistics of each model's batch in training mode, and the running ones otherwise.

        Args:
            x: [K, b, C * H * W] in [0, 1], each model its own images.

        Returns:
            logits [K, b, classes], and of each of the three groups the means over the image [K, b, channels]; of the
            last after batch norm and ReLU, as the linear layer reads them.
        """
        k = len(x)
        maps = (2 * x - 1).unflatten(2, self._image_shape).transpose(0, 1).flatten(1, 2)
        maps = self.conv(maps)
        hidden: list[Tensor] = []
        for place, group in enumerate(self.groups):
            maps = group(maps)
            if place == len(self.groups) - 1:
                maps = self.norm(maps)
            hidden.append(maps.mean(dim=(2, 3)).unflatten(1, (k, -1)).transpose(0, 1))
        return torch.baddbmm(self.bias.unsqueeze(1), hidden[-1], self.weight.transpose(1, 2)), hidden


class _Convolution(nn.Module):
    """K convolutions without bias: weight [K, out, in, side, side], padded so that stride 1 keeps the resolution."""

    def __init__(self, k: int, n_in: int, n_out: int, *, side: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(k, n_out, n_in, side, side))
        self._stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        k, side = len(self.weight), self.weight.shape[-1]
        return functional.conv2d(
            maps, self.weight.flatten(0, 1), stride=self._stride, padding=side // 2, groups=k
        )


class _BatchNormRelu(nn.Module):
    """K batch norms over channels and ReLU after them; running statistics as torch keeps them."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, k: int, n_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(k, n_channels))
        self.bias = nn.Parameter(torch.zeros(k, n_channels))
        self.register_buffer("running_mean", torch.zeros(k, n_channels))
        self.register_buffer("running_var", torch.ones(k, n_channels))

    def forward(self, maps: Tensor) -> Tensor:
        # Views, so that the running statistics are updated where they lie.
        mean, var = self.running_mean.view(-1), self.running_var.view(-1)
        return functional.batch_norm(
            maps, mean, var, self.weight.flatten(), self.bias.flatten(), training=self.training
        ).relu_()


class _Block(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and ReLU, beside a shortcut: 1 x 1 where the shape changes."""

    def __init__(self, k: int, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = _BatchNormRelu(k, n_in)
        self.conv1 = _Convolution(k, n_in, n_out, stride=stride)
        self.norm2 = _BatchNormRelu(k, n_out)
        self.conv2 = _Convolution(k, n_out, n_out)
        changes = stride != 1 or n_in != n_out
        self.shortcut = _Convolution(k, n_in, n_out, side=1, stride=stride) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        active = self.norm1(maps)
        kept = maps if self.shortcut is None else self.shortcut(active)
        return kept + self.conv2(self.norm2(self.conv1(active)))
