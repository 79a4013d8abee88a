"""False positive rate of predictors while one choice of the evaluation is varied."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.epoch_axis import EpochAxis, epoch_text
from memo_assets.figures.frames import by_predictor, finite, require_columns
from memo_assets.figures.theme import (
    INK,
    legend_below,
    message_figure,
    predictor_label,
    series_colors,
    style,
    vertical_line,
)


def fpr_by_share(points: pd.DataFrame, *, title: str, when: str, chosen: float, tpr: float) -> go.Figure:
    """FPR at the TPR objective over the share of samples that is called memorized.

    Args:
        points: One row a predictor, layer and share: predictor, layer (null where it has none), x in (0, 1), fpr.
        title: Title of the figure.
        when: At which epoch the prediction is made, for the line below the title.
        chosen: The study's own share, a vertical line.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing.
    """
    figure = _lines(points, title, f"Lower is better · predicted {when}")
    if figure.data:
        vertical_line(figure, chosen, name=f"share of this study ({chosen:.3g})", dash="dash", color=INK)
        figure.update_xaxes(
            title_text="Share of samples called memorized", tickformat=".0%", rangemode="tozero"
        )
        figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}")
    return figure


def fpr_by_objective(points: pd.DataFrame, *, title: str, when: str, chosen: float) -> go.Figure:
    """FPR over the TPR objective, the share of memorized samples that must be found.

    Args:
        points: As in `fpr_by_share`, x the objective.
        title: Title of the figure.
        when: At which epoch the prediction is made, for the line below the title.
        chosen: The objective used elsewhere, a vertical line.

    Raises:
        ValueError: A column is missing.
    """
    figure = _lines(points, title, f"Lower is better · predicted {when}")
    if figure.data:
        vertical_line(figure, chosen, name=f"objective elsewhere ({chosen:g})", dash="dash", color=INK)
        figure.update_xaxes(title_text="TPR objective", tickformat=".2f", dtick=0.05)
        figure.update_yaxes(title_text="FPR at the TPR objective")
    return figure


def fpr_by_label_epoch(
    points: pd.DataFrame, *, title: str, when: str, prediction_epoch: float | None, tpr: float
) -> go.Figure:
    """FPR at the TPR objective over the checkpoint whose labels are predicted.

    Args:
        points: As in `fpr_by_share`, x the epoch.
        title: Title of the figure.
        when: At which epoch the prediction is made, for the line below the title.
        prediction_epoch: When the prediction is made, a vertical line; None if there is no such epoch.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["x", "fpr"], "points")
    kept = finite(points, ["x", "fpr"])
    if kept.empty:
        return _lines(points, title, "")
    axis = EpochAxis(kept["x"])
    figure = _lines(kept.assign(x=axis.at(kept["x"])), title, f"Lower is better · predicted {when}")
    if prediction_epoch is not None:
        name = f"prediction epoch {epoch_text(prediction_epoch)}"
        vertical_line(figure, axis.at_one(prediction_epoch), name=name, dash="dash", color=INK)
    axis.apply(figure, "Epoch of the labels (checkpoints evenly spaced)")
    figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}")
    return figure


def _lines(points: pd.DataFrame, title: str, subtitle: str) -> go.Figure:
    require_columns(points, ["predictor", "layer", "x", "fpr"], "points")
    kept = finite(points, ["x", "fpr"]).sort_values("x", kind="stable")
    if kept.empty:
        return message_figure(title, "The labels do not split the samples in two: there is nothing to judge.")
    kept = kept.assign(layer=kept["layer"].astype("Float64"))
    figure, colors = style(go.Figure(), title, subtitle), series_colors(kept)
    for name, layer, curve in by_predictor(kept):
        label = predictor_label(name, layer)
        figure.add_scatter(
            x=curve["x"].to_numpy(dtype=np.float64), y=curve["fpr"].to_numpy(), mode="lines+markers", name=label,
            marker={"size": 6}, line={"color": colors[name, layer], "width": 2.4},
            hovertemplate=f"{label}: FPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero", tickformat=".2f")
    legend_below(figure)
    figure.update_layout(hovermode="x unified")
    return figure
