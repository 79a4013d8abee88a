"""What the training loop and the forward pass need to know of the models they work on.

What belongs here: the contract `Task`, K models over one data set, and what its methods return. What does not: any
model (`language`, `vision`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn


class Prediction(NamedTuple):
    """Outputs of K models on b samples.

    option_logits: float32 [K, b, C], logits of each sample's own options, -inf beyond their number.
    loss: float32 [K, b], cross-entropy of the given label over everything the model can answer; what is trained,
        unless the recipe asks for the loss on the whole text.
    hidden: of each layer 1 to L float32 [K, b, d], hidden states where the answer is predicted, of the layer's own width
        d; or None.
    """

    option_logits: Tensor
    loss: Tensor
    hidden: Sequence[Tensor] | None


class Task(Protocol):
    """K models, one per split seed, over one data set of N samples. `rows` are positions in the data set."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Split seeds, in the order of the pack."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N], tokens of every sample; where the notion has no meaning, as many as take about as much memory."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """All that determines the training beside recipe, split seeds and rows, as JSON values."""
        ...

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, stacked over models [K, ...], by name in a fixed order."""
        ...

    def buffers(self) -> dict[str, Tensor]:
        """What else a model is made of and training changes, stacked over models [K, ...], by names of its own."""
        ...

    def losses(self, rows: np.ndarray, step: int) -> Tensor:
        """Training loss per sample [K, b], with gradient, for rows int64 [K, b].

        Args:
            rows: positions in the data set, of each model.
            step: number of the pass in the run, from 0; what is drawn at random in a pass depends on it.
        """
        ...

    def penalty(self) -> Tensor | None:
        """What training adds to the losses of the last call of `losses` [K, b], with gradient; None: nothing."""
        ...

    def predict(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Outputs of all models on the same rows int64 [b], without dropout or gradient."""
        ...

    def export(self, k: int, directory: Path) -> None:
        """Write model k to a directory; no file is ever seen incomplete, and one that is there is replaced."""
        ...

    def load(self, k: int, directory: Path) -> None:
        """Read what `export` wrote into slot k."""
        ...
