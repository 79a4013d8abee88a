"""An axis of epochs on which checkpoints stand evenly spaced, labelled with their true epoch.

Early checkpoints are fractions of an epoch (0, .2, .4, ...) and are where the method looks; on a linear axis up
to epoch 20 they would fall on one another.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

MAX_TICKS = 30


class EpochAxis:
    """Positions 0, 1, 2, ... for the sorted distinct epochs; epochs in between lie in between.

    Args:
        epochs: Epochs of all checkpoints of the figure, repetitions allowed, at least one.
    """

    def __init__(self, epochs: Iterable[float]):
        self.epochs = np.unique(np.asarray(list(epochs), dtype=np.float64))

    def at(self, epochs: Iterable[float]) -> np.ndarray:
        """Positions of epochs, float64; beyond the first or last checkpoint the position of that checkpoint."""
        return np.interp(np.asarray(list(epochs), dtype=np.float64), self.epochs, np.arange(len(self.epochs)))

    def at_one(self, epoch: float) -> float:
        """Position of one epoch."""
        return float(self.at([epoch])[0])

    def ticks(self) -> list[str]:
        """One text a checkpoint, empty for those left out so that about MAX_TICKS remain, the last one always.

        Hovering shows the text too: an empty one says nothing, where a missing one would show the position.
        """
        last = len(self.epochs) - 1
        step = 1 + last // MAX_TICKS
        return [
            epoch_text(epoch)
            if position == last or (position % step == 0 and last - position >= step)
            else ""
            for position, epoch in enumerate(self.epochs)
        ]

    def apply(
        self, figure: go.Figure, title: str = "Epoch (checkpoints evenly spaced)", **where: Any
    ) -> None:
        """Set ticks, range and title on the figure's x-axes (`row`, `col` choose one of them)."""
        margin = max(0.35, 0.03 * len(self.epochs))
        figure.update_xaxes(
            tickmode="array",
            tickvals=list(range(len(self.epochs))),
            ticktext=self.ticks(),
            range=[-margin, len(self.epochs) - 1 + margin],
        )
        figure.update_xaxes(title_text=title, **where)


def epoch_text(epoch: float) -> str:
    """An epoch as people write it: `0.4`, `12`."""
    return f"{round(float(epoch), 4):g}"
