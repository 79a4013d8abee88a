"""The vision task: K perceptrons trained from scratch on images.

What belongs here: losses and class logits of images. What does not: the network (`models`), the loop (`loop`).
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from memo_assets.models.packed_mlp import PackedMlp
from memo_assets.training.state import content_hash
from memo_assets.training.task import Prediction

_FILE = "model.safetensors"


class VisionTask:
    """K perceptrons over one set of images; see `Task` for the contract.

    The options of every sample are all classes; layer l of the hidden states is the l-th hidden layer after ReLU.

    Args:
        images: float32 [N, C * H * W], channel after channel, row after row.
        given_index: int [N], the given label of each image.
        n_classes: number of classes.
        image_shape: channels, height and width of the images.
        hidden_widths: width of each hidden layer, all equal, since hidden states are stacked over layers.
        seeds: split seeds of the pack.
        device: where to train.

    Raises:
        ValueError: images and labels do not fit together, a label is no class, or the widths differ.
    """

    def __init__(
        self,
        images: np.ndarray,
        given_index: np.ndarray,
        n_classes: int,
        *,
        image_shape: tuple[int, int, int],
        hidden_widths: Sequence[int],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        if images.ndim != 2 or len(images) != len(given_index):
            raise ValueError(
                f"images {images.shape} and {len(given_index)} labels given, expected [N, d] and N"
            )
        if images.shape[1] != math.prod(image_shape):
            raise ValueError(
                f"images of {images.shape[1]} values given, expected {math.prod(image_shape)}: channels, height, width are "
                f"{image_shape}"
            )
        if given_index.min() < 0 or given_index.max() >= n_classes:
            raise ValueError(
                f"labels run from {given_index.min()} to {given_index.max()}, expected 0 to {n_classes - 1}"
            )
        if len(set(hidden_widths)) != 1:
            raise ValueError(
                f"hidden widths {list(hidden_widths)} differ: hidden states of all layers make one array, "
                "give every hidden layer the same width"
            )
        self._mlp = PackedMlp([images.shape[1], *hidden_widths, n_classes], seeds).to(device)
        self.seeds = self._mlp.seeds
        self.lengths = np.ones(len(images), dtype=np.int64)
        self._device = device
        self._image_shape = image_shape
        self._images = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(device)
        self._labels = torch.from_numpy(given_index.astype(np.int64)).to(device)
        self.settings = {"samples": content_hash(images, given_index)}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Stacked weights [K, out, in] and biases [K, out] by name."""
        return dict(self._mlp.named_parameters())

    def losses(self, rows: np.ndarray, step: int) -> Tensor:  # noqa: ARG002 - nothing is drawn during a step
        """Cross-entropy over the classes, [K, b]; see `Task`."""
        index = torch.from_numpy(rows).to(self._device)
        logits, _ = self._mlp(self._images[index])
        return _cross_entropy(logits, self._labels[index])

    def predict(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Class logits, loss and hidden activations of all models on the same rows [b]; see `Task`."""
        index = torch.from_numpy(rows).to(self._device).expand(len(self.seeds), -1)
        with torch.no_grad():
            logits, states = self._mlp(self._images[index])
            loss = _cross_entropy(logits, self._labels[index])
        return Prediction(logits, loss, torch.stack(states) if hidden else None)

    def queried(self, down: int, right: int, *, flipped: bool = False) -> "VisionTask":
        """The same models, their weights shared, over the images shifted by some pixels; what is left free is 0.

        Args:
            down: pixels down, up if negative.
            right: pixels to the right, to the left if negative.
            flipped: whether the images are mirrored, left to right, before they are shifted.

        Raises:
            ValueError: the images are shifted out of sight.
        """
        _, height, width = self._image_shape
        if abs(down) >= height or abs(right) >= width:
            raise ValueError(
                f"labels.queries: images of {height} x {width} pixels, shifted by {down} down and {right} to the right, are "
                "out of sight: lower labels.queries.shift"
            )
        here = self._images.view(-1, *self._image_shape)
        here = here.flip(3) if flipped else here
        there = torch.zeros_like(here)
        there[:, :, _overlap(height, down), _overlap(width, right)] = here[
            :, :, _overlap(height, -down), _overlap(width, -right)
        ]
        task = copy.copy(self)
        task._images = there.flatten(1)  # noqa: SLF001 - of its own class
        return task

    def export(self, k: int, directory: Path) -> None:
        """Write model k to `model.safetensors` in the directory."""
        self._mlp.save(k, directory / _FILE)

    def load(self, k: int, directory: Path) -> None:
        """Read a model written by `export` into slot k."""
        self._mlp.load(k, directory / _FILE)


def _overlap(side: int, by: int) -> slice:
    """Where rows come to lie that are moved by some places and stay in sight."""
    return slice(max(by, 0), side + min(by, 0))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(
        labels.shape
    )
