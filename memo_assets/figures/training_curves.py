"""Loss and accuracy over training."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.epoch_axis import EpochAxis, epoch_text
from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    PURPLE,
    VERMILION,
    decades,
    legend_below,
    message_figure,
    style,
    vertical_line,
)

# The smallest cross-entropy above 0 that float32 can hold: a loss of exactly 0 has no place on a log axis.
SMALLEST_LOSS = 2.0**-24
_PARTS = {"train": BLUE, "test": GREEN, "train, noisy labels": VERMILION, "train, canaries": PURPLE}


def loss_and_accuracy(curves: pd.DataFrame, *, title: str, prediction_epoch: float | None) -> go.Figure:
    """Median (solid) and mean (dotted) loss on a log axis, and accuracy below, over the epochs.

    Args:
        curves: One row a part and epoch: epoch, part ('train', 'test', 'train, noisy labels' or 'train, canaries'),
            median_loss, mean_loss, accuracy in [0, 1]. A nan leaves a gap.
        title: Title of the figure.
        prediction_epoch: Drawn as a vertical line; None if the loss never fell far enough, which is then said.

    Raises:
        ValueError: A column is missing, or a part is unknown.
    """
    require_columns(curves, ["epoch", "part", "median_loss", "mean_loss", "accuracy"], "curves")
    require_values(curves, "part", _PARTS, what="curves")
    kept = finite(curves, ["epoch"]).sort_values("epoch")
    if kept.empty:
        return message_figure(title, "No checkpoint has been evaluated yet: there is no loss to draw.")
    axis = EpochAxis(kept["epoch"])
    drawn_losses = []
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for part, color in _PARTS.items():
        curve = kept.loc[kept["part"] == part]
        if curve.empty:
            continue
        x = axis.at(curve["epoch"])
        for column, dash, name in (
            ("median_loss", "solid", part),
            ("mean_loss", "dot", f"{part}, mean loss"),
        ):
            y = np.maximum(curve[column].to_numpy(dtype=np.float64, na_value=np.nan), SMALLEST_LOSS)
            drawn_losses.append(y[np.isfinite(y)])
            figure.add_scatter(
                x=x, y=y, name=name, legendgroup=part, showlegend=dash == "solid", row=1, col=1,
                mode="lines+markers" if dash == "solid" else "lines", marker={"size": 5},
                line={"color": color, "width": 2.4 if dash == "solid" else 1.5, "dash": dash},
                hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=x, y=100 * curve["accuracy"].to_numpy(dtype=np.float64, na_value=np.nan), name=part,
            legendgroup=part, showlegend=False, mode="lines+markers", marker={"size": 5},
            line={"color": color, "width": 2.4}, hovertemplate=f"{part}: %{{y:.1f}} %<extra></extra>", row=2, col=1,
        )  # fmt: skip
    subtitle = "Loss: median solid, mean dotted"
    if prediction_epoch is None:
        subtitle += " · the median training loss never fell far enough: there is no prediction epoch"
    else:
        name = f"prediction epoch {epoch_text(prediction_epoch)}"
        vertical_line(figure, axis.at_one(prediction_epoch), name=name, dash="dash", color=INK)
    style(figure, title, subtitle)
    losses = np.concatenate(drawn_losses)
    figure.update_yaxes(title_text="Loss", row=1)
    if losses.size:
        figure.update_yaxes(row=1, **decades(losses))
    else:
        text = "No finite loss at these epochs."
        figure.add_annotation(
            text=text, showarrow=False, font_color=MUTED, x=0.5, y=0.5, xref="x domain", yref="y domain"
        )
    figure.update_yaxes(title_text="Accuracy", ticksuffix=" %", range=[0, 102], dtick=25, row=2)
    axis.apply(figure, row=2)
    legend_below(figure)
    figure.update_layout(hovermode="x unified")
    return figure
