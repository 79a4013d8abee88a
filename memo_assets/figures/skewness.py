"""Skewness of memorization over checkpoints, number of samples and similarity."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.epoch_axis import EpochAxis
from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import BLUE, MUTED, VERMILION, legend_below, message_figure, style

_PANELS = {
    "epoch": "Epoch (checkpoints evenly spaced)",
    "size": "Training samples looked at (log scale)",
    "similarity": "Similarity to the nearest other sample",
}
_MEASURES = {"skewness": ("Skewness", BLUE), "mean": ("Mean score of the group", VERMILION)}


def skewness_panels(points: pd.DataFrame, *, title: str) -> go.Figure:
    """Three panels of skewness with intervals; the third has the mean score of each group on an axis of its own.

    Args:
        points: One row a thing varied ('epoch', 'size', 'similarity'), value and measure ('skewness', 'mean'): over, value,
            measure, estimate, low, high. Rows with nan are left out.
        title: Title of the figure.

    Raises:
        ValueError: A column is missing, or what is varied or measured is unknown.
    """
    require_columns(points, ["over", "value", "measure", "estimate", "low", "high"], "points")
    require_values(points, "over", _PANELS, what="points")
    require_values(points, "measure", _MEASURES, what="points")
    kept = finite(points, ["value", "estimate", "low", "high"]).sort_values("value", kind="stable")
    skewed = kept[kept["measure"] == "skewness"]
    if skewed.empty:
        return message_figure(title, "Too few training samples have a score: there is no skewness to show.")
    figure = make_subplots(
        rows=1, cols=3, horizontal_spacing=0.09, specs=[[{}, {}, {"secondary_y": True}]],
    )  # fmt: skip
    for column, (over, label) in enumerate(_PANELS.items(), start=1):
        rows = skewed[skewed["over"] == over]
        figure.update_xaxes(title_text=label, row=1, col=column)
        if rows.empty:
            figure.add_annotation(
                text="too few samples",
                showarrow=False,
                row=1,
                col=column,
                font={"color": MUTED},
                x=0.5,
                y=0.5,
            )
            figure.update_xaxes(range=[0, 1], showticklabels=False, row=1, col=column)
            figure.update_yaxes(range=[0, 1], showticklabels=False, row=1, col=column)
            continue
        axis = EpochAxis(rows["value"]) if over == "epoch" else None
        x = rows["value"].to_numpy() if axis is None else axis.at(rows["value"])
        _line(figure, rows, x, "skewness", column, first=column == 1)
        if axis is not None:
            ticks = {"tickvals": list(range(len(axis.epochs))), "ticktext": axis.ticks(), "tickangle": -45}
            figure.update_xaxes(**ticks, row=1, col=column)
        if over == "size":
            ticks = [f"{value:,.0f}" for value in x]
            figure.update_xaxes(type="log", tickvals=x, ticktext=ticks, row=1, col=column)
        means = kept[(kept["over"] == over) & (kept["measure"] == "mean")]
        if over == "similarity" and not means.empty:
            _line(figure, means, means["value"].to_numpy(), "mean", column, first=True, secondary_y=True)
            # Ticks of its own: those of the skewness would be odd numbers here.
            own = {"tickmode": "auto", "showgrid": False, "title_text": "Mean score"}
            figure.update_yaxes(secondary_y=True, **own, row=1, col=column)
    figure.update_yaxes(title_text="Skewness", row=1, col=1)
    style(figure, title, "0 is symmetric; positive: few samples with scores far above the others")
    legend_below(figure)
    return figure


def _line(
    figure: go.Figure,
    rows: pd.DataFrame,
    x: object,
    measure: str,
    column: int,
    *,
    first: bool,
    secondary_y: bool = False,
) -> None:
    name, color = _MEASURES[measure]
    estimate = rows["estimate"].to_numpy()
    figure.add_scatter(
        x=x, y=estimate, name=name, legendgroup=measure, showlegend=first, mode="lines+markers",
        line={"color": color, "width": 2.4, "dash": "dot" if secondary_y else "solid"}, marker={"size": 6},
        error_y={"array": (rows["high"] - estimate).clip(lower=0).to_numpy(),
                 "arrayminus": (estimate - rows["low"]).clip(lower=0).to_numpy(), "thickness": 1.3, "width": 4},
        customdata=rows[["value", "low", "high"]].to_numpy(),
        hovertemplate=f"{name} at %{{customdata[0]:.3g}}: %{{y:.3g}} (%{{customdata[1]:.3g}} to "
        "%{customdata[2]:.3g})<extra></extra>",
        row=1, col=column, secondary_y=secondary_y if column == 3 else None,
    )  # fmt: skip
