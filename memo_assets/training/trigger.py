"""The trigger: when the running median of a model's training losses has fallen far enough.

What belongs here: watching losses of K models step by step, and what is needed to go on watching later. What does not:
what is done when it happens (the caller of `loop`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memo_assets.config import Trigger


@dataclass(frozen=True)
class Triggered:
    """A model whose running median has just fallen far enough.

    Attributes:
        k: its place in the pack.
        reference: median of its first losses, or the one given.
        median: median of its last losses, at most (1 - drop) x reference.
    """

    k: int
    reference: float
    median: float


class TriggerWatch:
    """Watches the training losses of K models, each by itself.

    The reference is the median of a model's first `window` losses, unless it is given. Once there are so many, the running
    median of its last `window` losses is taken after every step; the first that is at most (1 - drop) x reference triggers.

    Args:
        trigger: window and drop.
        n_models: K.
        reference: [K], such as the median losses of the untrained models; by default the first losses tell.
    """

    def __init__(self, trigger: Trigger, n_models: int, reference: np.ndarray | None = None) -> None:
        self._trigger = trigger
        self._recent = np.empty((n_models, 0))
        self._reference = reference  # [K], else known once there are losses enough
        self._step = np.zeros(n_models, dtype=np.int64)  # at which it triggered; 0: not yet

    def after_step(self, losses: Tensor, step: int) -> list[Triggered]:
        """Models that trigger with this step, in the order of the pack.

        Args:
            losses: [K, b], in the order of the batch.
            step: optimizer steps made, from 1.
        """
        waiting = np.flatnonzero(self._step == 0)
        if not waiting.size:
            return []
        window = self._trigger.window
        seen = np.concatenate([self._recent, losses.double().cpu().numpy()], axis=1)
        self._recent = seen[:, -window:]
        if seen.shape[1] < window:
            return []
        if self._reference is None:
            self._reference = np.median(seen[:, :window], axis=1)
        medians, reference = np.median(self._recent[waiting], axis=1), self._reference[waiting]
        fallen = medians <= (1 - self._trigger.drop) * reference
        self._step[waiting[fallen]] = step
        return [
            Triggered(int(k), float(first), float(last))
            for k, first, last in zip(waiting[fallen], reference[fallen], medians[fallen], strict=True)
        ]

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes: the last losses [K, up to window], steps [K] and, once known, the reference [K]."""
        arrays = {"recent": self._recent, "step": self._step}
        if self._reference is not None:
            arrays["reference"] = self._reference
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on watching where `state` was taken."""
        self._recent, self._step = (state[name].numpy().copy() for name in ("recent", "step"))
        self._reference = state["reference"].numpy().copy() if "reference" in state else None
