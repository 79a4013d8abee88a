"""The vision task: K networks trained from scratch on images.

What belongs here: losses and class logits of images. What does not: the networks (`models`), how images are changed at
random (`augmentation`), the loop (`loop`).
"""

import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from memo_assets.config import Augmentation, Elr
from memo_assets.models.packed_network import PackedNetwork
from memo_assets.training.augmentation import augmented
from memo_assets.training.early_learning import EarlyLearning
from memo_assets.training.state import content_hash
from memo_assets.training.task import Prediction

_FILE = "model.safetensors"
_TOKEN = 4096  # values of one layer that take as much memory as a token of a language model


class VisionTask:
    """K networks over one set of images; see `Task` for the contract.

    The options of every sample are all classes; the hidden states are the activations that the network hands out.

    Args:
        network: the networks, on the device to use.
        images: float32 [N, C * H * W], channel after channel, row after row.
        given_index: int [N], the given label of each image.
        image_shape: channels, height and width of the images.
        augmentation: how images are changed at random in training; by default not at all.
        elr: early-learning regularization over the classes; by default none.

    Raises:
        ValueError: images, labels and network do not fit together, or images cannot be augmented so.
    """

    def __init__(
        self,
        network: PackedNetwork,
        images: np.ndarray,
        given_index: np.ndarray,
        *,
        image_shape: tuple[int, int, int],
        augmentation: Augmentation | None = None,
        elr: Elr | None = None,
    ) -> None:
        if images.shape != (len(given_index), network.n_inputs):
            raise ValueError(
                f"images {images.shape} and {len(given_index)} labels given, expected [N, {network.n_inputs}] and N"
            )
        if images.shape[1] != math.prod(image_shape):
            raise ValueError(
                f"images of {images.shape[1]} values given, expected {math.prod(image_shape)}: channels, height, width are "
                f"{image_shape}"
            )
        if given_index.min() < 0 or given_index.max() >= network.n_classes:
            raise ValueError(
                f"labels run from {given_index.min()} to {given_index.max()}, expected 0 to {network.n_classes - 1}"
            )
        if augmentation is not None and augmentation.shift >= min(image_shape[1:]):
            raise ValueError(
                f"training.augmentation: images of shape {image_shape} (channels, height, width) given, expected sides of "
                f"more than shift = {augmentation.shift} pixels"
            )
        self._network = network
        self.seeds = network.seeds
        self.lengths = np.full(len(images), -(-network.n_widest // _TOKEN), dtype=np.int64)
        self._image_shape = image_shape
        self._augmentation = augmentation
        self._device = next(network.parameters()).device
        self._images = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self._device)
        self._labels = torch.from_numpy(given_index.astype(np.int64)).to(self._device)
        self.settings: dict[str, object] = {"samples": content_hash(images, given_index)}
        self._early: EarlyLearning | None = None
        self._penalty: Tensor | None = None
        if elr is not None:
            self.settings["elr"] = elr.settings()
            self._early = EarlyLearning(
                elr,
                n_models=len(network.seeds),
                n_samples=len(images),
                n_options=network.n_classes,
                device=self._device,
            )

    def parameters(self) -> dict[str, nn.Parameter]:
        """Stacked weights and biases [K, ...] by name."""
        return dict(self._network.named_parameters())

    def buffers(self) -> dict[str, Tensor]:
        """Running statistics [K, ...] of networks with batch norm, and early-learning targets [K, N, C], by name."""
        targets = {} if self._early is None else {"early_learning.targets": self._early.targets}
        return {**dict(self._network.named_buffers()), **targets}

    def losses(self, rows: np.ndarray, step: int) -> Tensor:
        """Cross-entropy over the classes, [K, b], on augmented images; see `Task`."""
        index = torch.from_numpy(rows).to(self._device)
        images = self._images[index]
        if self._augmentation is not None:
            shaped = images.unflatten(2, self._image_shape)
            images = augmented(shaped, self._augmentation, seeds=self.seeds, step=step).flatten(2)
        logits, _ = self._network.train()(images)
        self._penalty = None if self._early is None else self._early.penalty(logits, index)
        return _cross_entropy(logits, self._labels[index])

    def penalty(self) -> Tensor | None:
        """Early-learning regularization [K, b] of the images of the last call of `losses`; see `Task`."""
        return self._penalty

    def predict(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Class logits, loss and hidden activations of all models on the same rows [b]; see `Task`."""
        index = torch.from_numpy(rows).to(self._device).expand(len(self.seeds), -1)
        with torch.no_grad():
            logits, states = self._network.eval()(self._images[index])
            loss = _cross_entropy(logits, self._labels[index])
        return Prediction(logits, loss, states if hidden else None)

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
        self._network.save(k, directory / _FILE)

    def load(self, k: int, directory: Path) -> None:
        """Read a model written by `export` into slot k."""
        self._network.load(k, directory / _FILE)


def _overlap(side: int, by: int) -> slice:
    """Where rows come to lie that are moved by some places and stay in sight."""
    return slice(max(by, 0), side + min(by, 0))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(
        labels.shape
    )
