"""How predictor, label and loss move over training, for samples predicted safe and at risk."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.epoch_axis import EpochAxis, epoch_text
from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    legend_below,
    message_figure,
    style,
    translucent,
    vertical_line,
)

QUANTITIES = ("PSMI", "log-LiRA", "Loss")
_GROUPS = {"predicted safe": BLUE, "predicted at risk": VERMILION}


def dynamics(
    curves: pd.DataFrame, *, title: str, low_loss_epoch: float | None, best_test_epoch: float | None
) -> go.Figure:
    """PSMI, log-LiRA and loss over epochs: median line and quartile band of each group of samples.

    Args:
        curves: One row a quantity, group and epoch: epoch, group ('predicted safe' or 'predicted at risk'),
            quantity ('PSMI', 'log-LiRA' or 'Loss'), q25, median, q75.
        title: Title of the figure.
        low_loss_epoch: Epoch at which the median training loss is low (the prediction epoch), or None.
        best_test_epoch: Epoch with the best test accuracy, or None.

    Raises:
        ValueError: A column is missing, or a group or quantity is unknown.
    """
    require_columns(curves, ["epoch", "group", "quantity", "q25", "median", "q75"], "curves")
    require_values(curves, "group", _GROUPS, what="curves")
    require_values(curves, "quantity", QUANTITIES, what="curves")
    kept = finite(curves, ["epoch", "q25", "median", "q75"]).sort_values("epoch")
    if kept.empty:
        return message_figure(
            title, "There are no samples predicted safe or at risk to follow over the epochs."
        )
    axis = EpochAxis(kept["epoch"])
    figure = make_subplots(rows=len(QUANTITIES), cols=1, shared_xaxes=True, vertical_spacing=0.045)
    named = set()
    for row, quantity in enumerate(QUANTITIES, start=1):
        panel = kept.loc[kept["quantity"] == quantity]
        figure.update_yaxes(title_text=quantity, row=row)
        if panel.empty:
            figure.add_annotation(
                text=f"No values of {quantity} at these epochs.", showarrow=False, row=row, col=1,
                x=(len(axis.epochs) - 1) / 2, y=0.5, font={"color": MUTED},
            )  # fmt: skip
            figure.update_yaxes(range=[0, 1], showticklabels=False, row=row)
        for group, color in _GROUPS.items():
            curve = panel.loc[panel["group"] == group]
            if not curve.empty:
                _band(figure, axis, curve, color=color, name=group, row=row, showlegend=group not in named)
                named.add(group)
    if low_loss_epoch is not None:
        name = f"low training loss (epoch {epoch_text(low_loss_epoch)})"
        vertical_line(figure, axis.at_one(low_loss_epoch), name=name, dash="dash", color=INK)
    if best_test_epoch is not None:
        name = f"best test accuracy (epoch {epoch_text(best_test_epoch)})"
        vertical_line(figure, axis.at_one(best_test_epoch), name=name, dash="dot", color=INK)
    style(figure, title, "Median of the samples and band between their quartiles")
    axis.apply(figure, row=len(QUANTITIES))
    legend_below(figure)
    figure.update_layout(height=720, hovermode="x unified")
    return figure


def _band(
    figure: go.Figure,
    axis: EpochAxis,
    curve: pd.DataFrame,
    *,
    color: str,
    name: str,
    row: int,
    showlegend: bool,
) -> None:
    x = axis.at(curve["epoch"])
    edge = {
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
    }
    figure.add_scatter(x=x, y=curve["q25"].to_numpy(), **edge, row=row, col=1)
    figure.add_scatter(
        x=x,
        y=curve["q75"].to_numpy(),
        fill="tonexty",
        fillcolor=translucent(color, 0.16),
        **edge,
        row=row,
        col=1,
    )
    figure.add_scatter(
        x=x, y=curve["median"].to_numpy(), name=name, legendgroup=name, showlegend=showlegend,
        mode="lines+markers", marker={"size": 5}, line={"color": color, "width": 2.4},
        customdata=curve[["epoch", "q25", "q75"]].to_numpy(),
        hovertemplate=f"{name}: %{{y:.3g}} (%{{customdata[1]:.3g}} to %{{customdata[2]:.3g}})<extra></extra>",
        row=row, col=1,
    )  # fmt: skip
