"""False positive rate of predictors over prediction epochs, beside the training loss."""

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.epoch_axis import EpochAxis, epoch_text
from memo_assets.figures.frames import by_predictor, finite, require_columns
from memo_assets.figures.theme import (
    GREY,
    INK,
    MUTED,
    decades,
    legend_below,
    message_figure,
    predictor_label,
    series_colors,
    style,
    vertical_line,
)
from memo_assets.figures.training_curves import SMALLEST_LOSS


def fpr_over_epochs(
    points: pd.DataFrame, losses: pd.DataFrame, *, title: str, prediction_epoch: float | None, tpr: float
) -> go.Figure:
    """How early each predictor becomes good: its FPR at the TPR objective, were it used at that epoch.

    Args:
        points: One row a predictor, layer and epoch: predictor, layer (null where it has none), epoch, fpr.
        losses: One row an epoch: epoch, median_train_loss; the shaded area, on a log axis at the right.
        title: Title of the figure.
        prediction_epoch: Drawn as a vertical line; None if the loss never fell far enough, which is then said.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["predictor", "layer", "epoch", "fpr"], "points")
    require_columns(losses, ["epoch", "median_train_loss"], "losses")
    kept = finite(points, ["epoch", "fpr"]).sort_values("epoch", kind="stable")
    loss = finite(losses, ["epoch", "median_train_loss"]).sort_values("epoch")
    if kept.empty:
        return message_figure(title, "No predictor has been evaluated at any epoch yet.")
    axis = EpochAxis([*kept["epoch"], *loss["epoch"]])
    figure = go.Figure()
    colors = series_colors(kept)
    for name, layer, curve in by_predictor(kept):
        label = predictor_label(name, layer)
        figure.add_scatter(
            x=axis.at(curve["epoch"]), y=curve["fpr"].to_numpy(), mode="lines+markers", name=label,
            marker={"size": 6}, line={"color": colors[name, layer], "width": 2.4},
            hovertemplate=f"{label}: FPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    subtitle = "Lower is better · dotted: the loss whose fall makes the prediction epoch"
    if prediction_epoch is None:
        subtitle = "The median training loss never fell far enough: there is no prediction epoch"
    else:
        name = f"prediction epoch {epoch_text(prediction_epoch)}"
        vertical_line(figure, axis.at_one(prediction_epoch), name=name, dash="dash", color=INK)
    style(figure, title, subtitle)
    axis.apply(figure)
    figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}", rangemode="tozero", tickformat=".2f")
    if not loss.empty:
        _loss_at_the_right(figure, axis, loss)
    legend_below(figure)
    figure.update_layout(hovermode="x unified")
    return figure


def _loss_at_the_right(figure: go.Figure, axis: EpochAxis, loss: pd.DataFrame) -> None:
    medians = loss["median_train_loss"].clip(lower=SMALLEST_LOSS).to_numpy()
    figure.add_scatter(
        x=axis.at(loss["epoch"]), y=medians, yaxis="y2", mode="lines", name="Median training loss (right axis)",
        line={"color": GREY, "width": 2, "dash": "dot"}, hovertemplate="Median training loss: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        yaxis2={
            "title": {"text": "Median training loss", "font": {"color": MUTED}}, "overlaying": "y", "side": "right",
            "showgrid": False, "tickmode": "array", **decades(medians),
        }
    )  # fmt: skip
