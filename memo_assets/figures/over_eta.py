"""Predictors over eta, the log-LiRA from which a sample counts as memorized."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.frames import by_predictor, finite, require_columns
from memo_assets.figures.roc_panels import default_rule_point, lay_out, roc_panel, text_block
from memo_assets.figures.theme import (
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

_PANEL_HEIGHT, _MARGINS = 335, 240


def roc_by_eta(
    curves: pd.DataFrame, *, title: str, when: str, default_rules: Mapping[float, tuple[float, float]]
) -> go.Figure:
    """ROC and AUC of every predictor, one panel a threshold eta from which a sample counts as memorized.

    Args:
        curves: One row a point of a curve, in the order of the curve: eta, n_memorized (samples at or above eta),
            predictor, layer (null where a predictor has none), fpr, tpr, auc (the curve's, repeated). Points with nan
            are left out, and an eta that has no others has no panel; long curves are drawn as in `roc_predictors`.
        title: Title of the figure.
        when: At which epoch the prediction is made, for the line below the title.
        default_rules: (FPR, TPR) of PSMI's default rule (last layer, PSMI < 0) by eta, marked where there is one.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(curves, ["eta", "n_memorized", "predictor", "layer", "fpr", "tpr", "auc"], "curves")
    points = finite(curves, ["eta", "n_memorized", "fpr", "tpr", "auc"])
    if points.empty:
        return message_figure(title, "No eta splits the samples in two: there is no ROC curve to draw.")
    panels = [(float(eta), rows) for eta, rows in points.groupby("eta")]  # pyright: ignore[reportArgumentType]
    columns, rows = min(2, len(panels)), -(-len(panels) // 2)
    figure = make_subplots(
        rows=rows, cols=columns, horizontal_spacing=0.09, vertical_spacing=0.22 / rows,
        specs=[[{} if row * columns + column < len(panels) else None for column in range(columns)] for row in range(rows)],
        subplot_titles=[_panel_title(eta, here["n_memorized"].iloc[0]) for eta, here in panels],
    )  # fmt: skip
    figure.update_annotations(font_size=14)
    colors = series_colors(points)
    for panel, (eta, here) in enumerate(panels):
        row, column = divmod(panel, columns)
        at: dict[str, Any] = {"row": row + 1, "col": column + 1}
        lines = roc_panel(figure, here, colors, at)
        rule = default_rules.get(eta)
        if rule is not None and np.isfinite(rule).all():
            lines.append(default_rule_point(figure, *rule, at))
        text_block(figure, lines, at)
        if panel + columns >= len(panels):
            figure.update_xaxes(title_text="False positive rate", **at)
    style(figure, title, f"The nearer to the top left corner, the better · predicted {when}")
    figure.update_yaxes(title_text="True positive rate", col=1)
    lay_out(figure)
    figure.update_layout(height=max(600, _MARGINS + _PANEL_HEIGHT * rows))
    return figure


def auc_over_eta(points: pd.DataFrame, *, title: str, when: str, chosen: float | None) -> go.Figure:
    """AUC of every predictor over the threshold eta, and below it how many samples are memorized.

    Args:
        points: One row a predictor, layer and eta: eta, n_memorized (samples at or above eta), predictor, layer (null
            where it has none), auc (nan, where nothing or everything is memorized, is left out).
        title: Title of the figure.
        when: At which epoch the prediction is made, for the line below the title.
        chosen: The study's own eta, a vertical line; None if it has none.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["eta", "n_memorized", "predictor", "layer", "auc"], "points")
    counted = finite(points, ["eta", "n_memorized"]).sort_values("eta", kind="stable")
    kept = finite(counted, ["auc"])
    if kept.empty:
        return message_figure(title, "No eta splits the samples in two: there is nothing to judge.")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.74, 0.26])
    colors = series_colors(kept)
    for name, layer, curve in by_predictor(kept):
        label = predictor_label(name, layer)
        figure.add_scatter(
            x=curve["eta"].to_numpy(), y=curve["auc"].to_numpy(), mode="lines+markers", name=label,
            marker={"size": 6}, line={"color": colors[name, layer], "width": 2.4}, row=1, col=1,
            customdata=curve["n_memorized"].to_numpy(),
            hovertemplate=f"{label}<br>eta %{{x:.3g}}: AUC %{{y:.3f}}<br>%{{customdata:,d}} memorized<extra></extra>",
        )  # fmt: skip
    counts = counted.loc[counted["n_memorized"] > 0].drop_duplicates("eta")
    figure.add_scatter(
        x=counts["eta"].to_numpy(), y=counts["n_memorized"].to_numpy(), mode="lines+markers",
        name="memorized samples", showlegend=False, marker={"size": 5}, line={"color": MUTED, "width": 1.8},
        hovertemplate="eta %{x:.3g}: %{y:,d} memorized<extra></extra>", row=2, col=1,
    )  # fmt: skip
    if chosen is not None:
        vertical_line(figure, chosen, name=f"eta of this study ({chosen:g})", dash="dash", color=INK)
    style(figure, title, f"Higher is better · predicted {when}")
    low = min(0.5, kept["auc"].min())
    figure.update_yaxes(title_text="AUC", tickformat=".1f", range=[low - 0.02, 1.02], row=1)
    figure.update_yaxes(title_text="Memorized", row=2, **decades(np.array([1.0, *counts["n_memorized"]])))
    figure.update_xaxes(title_text="eta: memorized from this log-LiRA on", row=2)
    legend_below(figure)
    return figure


def _panel_title(eta: float, number: float) -> str:
    samples = "1 sample" if number == 1 else f"{number:,.0f} samples"
    return f"memorized: log-LiRA ≥ {eta:g} ({samples})"
