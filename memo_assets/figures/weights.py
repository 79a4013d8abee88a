"""How far the trained weights go over the epochs."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.epoch_axis import EpochAxis, epoch_text
from memo_assets.figures.frames import finite, require_columns
from memo_assets.figures.theme import COLORWAY, INK, legend_below, message_figure, style, vertical_line

_SHOWN = {"value": "Norm", "distance": "Distance from step 0"}
_SAME = {"value": "Norm, which is the distance from step 0"}


def weight_norms_over_epochs(
    points: pd.DataFrame, *, title: str, matrix: str, prediction_epoch: float | None
) -> go.Figure:
    """Norms of the trained weights and their distances from step 0, each as a multiple of its last value.

    Norms differ by orders of magnitude, and what tells is when they grow: so every curve ends at 1. Updates of adapters
    start at 0, so that both are the same: then there is one panel.

    Args:
        points: One row a norm and epoch: norm, epoch, value, distance.
        title: Title of the figure.
        matrix: What the weights are, for the axis title.
        prediction_epoch: Drawn as a vertical line, if there is one.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["norm", "epoch", *_SHOWN], "points")
    kept = finite(points, ["epoch", *_SHOWN]).sort_values("epoch", kind="stable")
    if kept.empty:
        return message_figure(title, "No weights have been measured yet.")
    axis = EpochAxis(kept["epoch"])
    shown = _SAME if np.allclose(kept["value"], kept["distance"]) else _SHOWN
    figure = make_subplots(
        rows=1, cols=len(shown), horizontal_spacing=0.12, subplot_titles=list(shown.values())
    )
    for column, name in enumerate(shown, start=1):
        for place, (norm, curve) in enumerate(kept.groupby("norm", sort=False)):
            last = curve[name].iloc[-1]
            figure.add_scatter(
                x=axis.at(curve["epoch"]), y=curve[name] / last if last else curve[name], name=str(norm).capitalize(),
                mode="lines+markers", marker={"size": 6}, line={"color": COLORWAY[place % len(COLORWAY)], "width": 2.2},
                customdata=curve[name], hovertemplate=f"{norm}: %{{customdata:.4g}}<extra></extra>",
                showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
    if prediction_epoch is not None:
        name = f"prediction epoch {epoch_text(prediction_epoch)}"
        vertical_line(figure, axis.at_one(prediction_epoch), name=name, dash="dash", color=INK)
    style(figure, title, f"{matrix}, of all modules together; each curve as a multiple of its last value")
    for column in range(1, len(shown) + 1):
        axis.apply(figure, row=1, col=column)
        figure.update_yaxes(rangemode="tozero", row=1, col=column)
    figure.update_annotations(font_size=14)
    figure.update_layout(margin_t=132)  # room for the panels' titles
    legend_below(figure)
    return figure
