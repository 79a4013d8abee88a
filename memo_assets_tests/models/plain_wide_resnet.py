"""A wide residual network of torch's own modules, to compare with."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-activation block of the paper: figure 1, B(3, 3)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(n_in), nn.BatchNorm2d(n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        same = stride == 1 and n_in == n_out
        self.shortcut = None if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.norm1(x))
        change = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        return change + (x if self.shortcut is None else self.shortcut(active))


class Plain(nn.Module):
    """One network, whose weights have the names of the packed one's."""

    def __init__(self, depth: int, width: int, shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        self._shape = shape
        self.conv = nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False)
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.groups = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(n_in if i == 0 else n_out, n_out, stride if i == 0 else 1)
                    for i in range((depth - 4) // 6)
                )
            )
            for n_in, n_out, stride in zip(widths, widths[1:], (1, 2, 2), strict=False)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.weight, self.bias = (
            nn.Parameter(torch.empty(n_classes, widths[-1])),
            nn.Parameter(torch.empty(n_classes)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.conv(2 * x.view(-1, *self._shape) - 1)
        pooled = []
        for place, group in enumerate(self.groups):
            x = group(x)
            if place == 2:
                x = functional.relu(self.norm(x))
            pooled.append(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return functional.linear(pooled[-1], self.weight, self.bias), pooled
