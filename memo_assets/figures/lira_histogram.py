"""Histograms of the memorization score, such as log-LiRA, one small panel per epoch."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.ndimage import gaussian_filter1d

from memo_assets.figures.epoch_axis import epoch_text
from memo_assets.figures.frames import require_columns, require_values
from memo_assets.figures.theme import (
    BLUE,
    INK,
    PURPLE,
    VERMILION,
    legend_below,
    message_figure,
    style,
    translucent,
)

CLIP = 100.0
MAX_PANELS = 9
N_BINS = 48
DENSITY_BANDWIDTH_BINS = 1.4
_KINDS = {
    "true": ("true label", translucent(BLUE, 0.55)),
    "random": ("noisy label", VERMILION),
    "canary": ("canary", PURPLE),
}
_DASHED = {"color": INK, "width": 1.4, "dash": "dash"}
_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)
_TICKS_OF_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def log_lira_histogram(
    values: pd.DataFrame,
    *,
    title: str,
    quantile: float = 0.9,
    eta: float | None = None,
    score: str = "log-LiRA",
) -> go.Figure:
    """How the memorization score spreads over training, one panel for each of at most nine epochs.

    The x-axis is linear near 0 and logarithmic further out (inverse hyperbolic sine), so that the bulk of an early
    epoch and the tail of a late one can both be read. Bars count samples in % of the epoch's samples, those with
    a noisy label and canaries stacked on top; the curve is a Gaussian density of all of them; the line is the score from
    which a sample counts as memorized.

    Args:
        values: One row a sample and epoch: epoch, score (clipped to [-100, 100] here; nan, a sample outside the
            target's training set, is left out), label_status 'true', 'random' or 'canary'.
        title: Title of the figure.
        quantile: Quantile of the line, 0.9 for the top 10 %.
        eta: Where the line stands instead, if given.
        score: What the score is called on the axes.

    Raises:
        ValueError: A column is missing, or a label status is unknown.
    """
    require_columns(values, ["epoch", "score", "label_status"], "values")
    kept = values.loc[values["score"].notna()]
    if kept.empty:
        return message_figure(title, "There are no scores: shadow models have not been compared yet.")
    require_values(kept, "label_status", _KINDS, what="values")
    epochs = np.unique(kept["epoch"].to_numpy(dtype=np.float64))
    shown = epochs[
        np.unique(np.linspace(0, len(epochs) - 1, min(MAX_PANELS, len(epochs))).round().astype(int))
    ]
    kept = kept.loc[kept["epoch"].astype("float64").isin(shown)]
    scores = np.clip(kept["score"].to_numpy(dtype=np.float64), -CLIP, CLIP)
    edges = _edges(scores)
    columns = 2 if len(shown) == 4 else min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.03,
        vertical_spacing=0.26 / rows, subplot_titles=[" "] * len(shown),
    )  # fmt: skip
    tops, lines = np.zeros(rows), []
    for panel, epoch in enumerate(shown):
        here = (kept["epoch"].astype("float64") == epoch).to_numpy()
        status = kept["label_status"].to_numpy()[here]
        row, column = divmod(panel, columns)
        line, top = _panel(
            figure,
            scores[here],
            status,
            edges=edges,
            quantile=quantile,
            eta=eta,
            score=score,
            at=(row + 1, column + 1),
        )
        tops[row] = max(tops[row], top)
        lines.append(line)
        if panel + columns < len(shown):
            figure.update_xaxes(showticklabels=False, row=row + 1, col=column + 1)
        else:
            figure.update_xaxes(title_text=score, row=row + 1, col=column + 1)
        figure["layout"]["annotations"][panel].update(
            text=f"<b>epoch {epoch_text(epoch)}</b> · line at {line:.3g}", font={"size": 13}
        )
    figure.update_layout(shapes=[_vertical(place, line) for place, line in enumerate(lines, start=1)])
    note = "" if len(shown) == len(epochs) else f" · {len(shown)} of {len(epochs)} checkpoints"
    right = (
        f"the {100 * (1 - quantile):.3g} % with the highest score"
        if eta is None
        else f"a score of at least {eta:g}"
    )
    style(figure, title, f"Right of the line: {right}{note}")
    ticks = [
        tick
        for tick in (_TICKS_OF_SHARES if scores.min() >= 0 and scores.max() <= 1 else _TICKS)
        if edges[0] <= np.arcsinh(tick) <= edges[-1]
    ]
    figure.update_xaxes(tickvals=np.arcsinh(ticks), ticktext=[f"{tick}" for tick in ticks], tickangle=0)
    figure.update_xaxes(range=[edges[0], edges[-1]], tickfont_size=12)
    figure.update_yaxes(tickfont_size=12, ticksuffix=" %", nticks=5)
    for row, top in enumerate(tops, start=1):
        figure.update_yaxes(range=[0, 1.06 * top], row=row)
    legend_below(figure)
    figure.update_layout(barmode="stack", bargap=0.06, height=720 if rows > 2 else 600, margin_t=118)
    figure.update_layout(legend_traceorder="normal")
    return figure


def _edges(scores: np.ndarray) -> np.ndarray:
    """Equal bins on the asinh scale around all but the outermost .1 % of scores on either side."""
    low, high = np.arcsinh(np.quantile(scores, [0.001, 0.999]))
    pad = max(0.06 * (high - low), 0.25)
    limit = np.arcsinh(CLIP) + 0.1
    return np.linspace(max(low - pad, -limit), min(high + pad, limit), N_BINS + 1)


def _panel(
    figure: go.Figure,
    scores: np.ndarray,
    status: np.ndarray,
    *,
    edges: np.ndarray,
    quantile: float,
    eta: float | None,
    score: str,
    at: tuple[int, int],
) -> tuple[float, float]:
    """Draw one epoch at (row, column) counted from 1; returns where the line stands and the highest bar."""
    where: dict[str, Any] = {"row": at[0], "col": at[1]}
    is_first = at == (1, 1)
    # The outermost bins also hold what lies beyond them, so that the bars of a panel sum to 100 %.
    places = np.clip(np.arcsinh(scores), edges[0], edges[-1])
    middles = (edges[:-1] + edges[1:]) / 2
    total = np.zeros(len(middles))
    hover = f"{score} about %{{customdata:.2g}}<br>%{{y:.2f}} % of samples"
    for kind, (name, color) in _KINDS.items():
        mask = status == kind
        if kind == "canary" and not mask.any():
            continue  # most studies have none
        share = 100 * np.histogram(places[mask], edges)[0] / len(scores)
        total += share
        figure.add_bar(
            x=middles, y=share, name=name, legendgroup=name, showlegend=is_first, customdata=np.sinh(middles),
            marker={"color": color, "line": {"width": 0}}, hovertemplate=hover + f", {name}<extra></extra>", **where,
        )  # fmt: skip
    density = gaussian_filter1d(total, DENSITY_BANDWIDTH_BINS, mode="reflect")
    figure.add_scatter(
        x=middles, y=density, mode="lines", name="density", legendgroup="density", showlegend=is_first,
        line={"color": INK, "width": 1.6, "shape": "spline"}, hoverinfo="skip", **where,
    )  # fmt: skip
    line = float(np.quantile(scores, quantile)) if eta is None else eta
    if is_first:
        name = f"{100 * (1 - quantile):.3g} % line" if eta is None else f"line at {eta:g}"
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines",
            name=name,
            line=_DASHED,
            **where,
        )
    return line, float(total.max())


def _vertical(panel: int, score: float) -> dict[str, Any]:
    """The shape of a line from the bottom of a panel, counted from 1, to its top; plotly's own takes long for many."""
    x, axis = np.arcsinh(score), "" if panel == 1 else panel
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "xref": f"x{axis}",
        "y0": 0,
        "y1": 1,
        "yref": f"y{axis} domain",
        "line": _DASHED,
    }
