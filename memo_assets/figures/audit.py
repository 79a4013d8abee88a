"""Figures of an audit: where PSMI lies, what the controls say, how the loss fell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import finite, require_columns
from memo_assets.figures.theme import (
    BLUE,
    GREY,
    MUTED,
    VERMILION,
    legend_below,
    message_figure,
    style,
    vertical_line,
)

MAX_POINTS = 4000
_SHOWN = (0.002, 1.0)  # quantiles of PSMI between which a histogram is drawn; the rest goes into its ends
_BINS = 60


def psmi_histogram(samples: pd.DataFrame, *, title: str) -> go.Figure:
    """How PSMI is spread over the samples, flagged and others.

    Args:
        samples: psmi, flagged. Rows with nan are left out; the lowest .2 % are drawn in the first bar.
        title: Title of the figure.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(samples, ["psmi", "flagged"], "samples")
    kept = finite(samples, ["psmi"])
    if kept.empty:
        return message_figure(title, "No sample has a PSMI: there is nothing to draw.")
    values = kept["psmi"].to_numpy()
    low, high = np.quantile(values, _SHOWN)
    low = min(low, 0.0)
    edges = np.linspace(low, max(high, low + 1e-9), _BINS + 1)
    figure = style(go.Figure(), title, "Left of 0: the hidden state speaks against the label given")
    for flagged, name, color in ((True, "flagged", VERMILION), (False, "not flagged", BLUE)):
        some = values[kept["flagged"].to_numpy(dtype=bool) == flagged].clip(edges[0], edges[-1])
        counts, _ = np.histogram(some, edges)
        figure.add_bar(
            x=(edges[1:] + edges[:-1]) / 2, y=counts, width=np.diff(edges), name=f"{name} ({len(some):,})",
            marker={"color": color, "opacity": 0.75, "line": {"width": 0}},
            hovertemplate="PSMI about %{x:.2f}: %{y} samples<extra></extra>",
        )  # fmt: skip
    vertical_line(figure, 0.0, name="rule: PSMI < 0", dash="dash")
    figure.update_xaxes(title_text="PSMI of the last layer, nats")
    figure.update_yaxes(title_text="Samples", rangemode="tozero")
    figure.update_layout(barmode="overlay", bargap=0)
    legend_below(figure)
    return figure


def psmi_against_loss(samples: pd.DataFrame, *, title: str) -> go.Figure:
    """Loss and PSMI of each sample: what the rule flags that the loss alone would not.

    Args:
        samples: psmi, loss, flagged, name (shown on hovering). At most MAX_POINTS are drawn, the riskiest first.
        title: Title of the figure.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(samples, ["psmi", "loss", "flagged", "name"], "samples")
    kept = finite(samples, ["psmi", "loss"]).sort_values("psmi", kind="stable")
    if kept.empty:
        return message_figure(title, "No sample has both scores: there is nothing to draw.")
    shown = kept.iloc[:MAX_POINTS]
    drawn = "" if len(shown) == len(kept) else f" · the {len(shown):,} riskiest of {len(kept):,}"
    figure = style(go.Figure(), title, f"One point a sample, at the prediction epoch{drawn}")
    for flagged, name, color in ((True, "flagged", VERMILION), (False, "not flagged", BLUE)):
        some = shown[shown["flagged"].to_numpy(dtype=bool) == flagged]
        figure.add_scatter(
            x=some["loss"].to_numpy(), y=some["psmi"].to_numpy(), mode="markers", name=name,
            marker={"size": 5, "color": color, "opacity": 0.55}, customdata=some["name"].to_numpy(),
            hovertemplate="sample %{customdata}<br>loss %{x:.3g} · PSMI %{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": MUTED, "width": 1.2, "dash": "dash"})
    figure.update_xaxes(title_text="Loss of the given label, nats")
    figure.update_yaxes(title_text="PSMI, nats")
    legend_below(figure)
    return figure


def rates(points: pd.DataFrame, *, title: str, subtitle: str) -> go.Figure:
    """Rates with their intervals, one line each, from the first at the top.

    Args:
        points: name, value, low, high (null where the rate was refused), kind ('good', 'bad' or 'neutral': colour).
        title: Title of the figure.
        subtitle: how to read it.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["name", "value", "low", "high", "kind"], "points")
    kept = finite(points, ["value", "low", "high"])
    if kept.empty:
        return message_figure(title, "Too few cases for any rate: there is nothing to draw.")
    figure = style(go.Figure(), title, subtitle)
    colors = {"good": BLUE, "bad": VERMILION, "neutral": GREY}
    value, low, high = (kept[name].to_numpy(dtype=np.float64) for name in ("value", "low", "high"))
    figure.add_scatter(
        x=value, y=kept["name"].to_numpy(), mode="markers", showlegend=False,
        marker={"size": 11, "color": [colors[kind] for kind in kept["kind"]]},
        error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "thickness": 1.6, "width": 5},
        customdata=np.column_stack([low, high]),
        hovertemplate="%{y}: %{x:.1%}, 95 % interval %{customdata[0]:.1%} to %{customdata[1]:.1%}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", title_text="Rate, with its 95 % interval")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(height=170 + 62 * len(kept))
    return figure


def median_loss(losses: pd.DataFrame, *, title: str, objective: float, reached: float | None) -> go.Figure:
    """Median loss over the samples at each forward pass, and where the run was to stop.

    Args:
        losses: epoch, median_loss.
        title: Title of the figure.
        objective: median at which the run stops.
        reached: epoch at which it did; None if it never did.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(losses, ["epoch", "median_loss"], "losses")
    figure = style(go.Figure(), title, "Over all training samples, without dropout, at each forward pass")
    figure.add_scatter(
        x=losses["epoch"].to_numpy(), y=losses["median_loss"].to_numpy(), mode="lines+markers", name="median loss",
        line={"color": BLUE, "width": 2.4}, marker={"size": 8},
        hovertemplate="epoch %{x:.3g}: median loss %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=objective, line={"color": MUTED, "width": 1.2, "dash": "dash"})
    figure.add_annotation(
        text=f"low enough: {objective:.3g}", x=1, xref="paper", xanchor="right", y=objective, yanchor="bottom", showarrow=False,
        font={"size": 12, "color": MUTED},
    )  # fmt: skip
    if reached is not None:
        vertical_line(figure, reached, name="prediction epoch", dash="dot")
    figure.update_xaxes(title_text="Epoch", rangemode="tozero")
    figure.update_yaxes(title_text="Median loss, nats", rangemode="tozero")
    legend_below(figure)
    return figure


def control_points(
    controls: Sequence[dict[str, Any]], share: dict[str, Any], titles: dict[str, str]
) -> pd.DataFrame:
    """Points of `rates` for planted samples, and the flagged share of the user's own beside them.

    Args:
        controls: records of an audit's summary.
        share: the record of the flagged share.
        titles: name of each kind of control.
    """
    colors = {"flagged": "good", "not flagged": "bad", "either": "neutral"}
    rows = [
        {
            "name": titles.get(one["kind"], one["kind"]),
            "kind": colors[one["expected"]],
            **interval(one["flagged"]),
        }
        for one in controls
    ]
    rows.append({"name": "your samples", "kind": "neutral", **interval(share)})
    return pd.DataFrame(rows)


def interval(rate: dict[str, Any]) -> dict[str, float]:
    """Value and ends of a rate of an audit's summary as `rates` takes them: nan where it was refused."""
    return {name: np.nan if rate[name] is None else rate[name] for name in ("value", "low", "high")}
