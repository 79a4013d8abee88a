"""What networks trained from scratch side by side have in common: their split seeds, and the file of one model.

What belongs here: the contract of a pack of networks, and saving and loading one of its models. What does not: layers
and initial weights (`packed_mlp`, `packed_wide_resnet`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memo_assets.store.files import give_usual_rights


class PackedNetwork(nn.Module, ABC):
    """K networks of one shape; every parameter and buffer is stacked over models, [K, ...].

    Args:
        seeds: split seeds of the pack, each once.

    Raises:
        ValueError: no seeds, or a seed given twice.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"a pack needs split seeds, each once; given {list(seeds)}")
        self.seeds = tuple(seeds)

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Values of one sample."""

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """Number of classes."""

    @property
    @abstractmethod
    def n_widest(self) -> int:
        """Values of one sample in the layer that has most of them."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Class logits and hidden activations.

        Args:
            x: [K, b, n_inputs], each model its own samples.

        Returns:
            logits [K, b, classes], and per hidden layer its activations [K, b, width].
        """

    def save(self, k: int, path: Path) -> None:
        """Write model k of the pack as safetensors, by a temporary name and a rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        tensors = {name: stacked[k].to("cpu", copy=True) for name, stacked in self._stacked().items()}
        save_file(tensors, partial, metadata={"format": "pt"})
        give_usual_rights(partial)
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
        shapes = {name: tuple(stacked.shape[1:]) for name, stacked in self._stacked().items()}
        found = {name: tuple(t.shape) for name, t in stored.items()}
        if found != shapes:
            raise ValueError(f"the model in {path} has shapes {found}, expected {shapes}")
        with torch.no_grad():
            for name, stacked in self._stacked().items():
                stacked[k].copy_(stored[name])

    def _stacked(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, without gradient."""
        return {name: p.detach() for name, p in (*self.named_parameters(), *self.named_buffers())}
