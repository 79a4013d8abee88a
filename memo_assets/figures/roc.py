"""ROC curves of predictors of one study."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import by_predictor, finite, require_columns
from memo_assets.figures.theme import (
    GREY,
    MUTED,
    message_figure,
    predictor_color,
    predictor_label,
    series_colors,
    style,
)

TPR_OBJECTIVE = 0.75
MAX_POINTS = 800
_DASHES = {"early_log_lira": "dash", "random": "dot", "loss": "dash", "logit_gap": "dashdot"}
_MAIN = ("psmi", "loss", "logit_gap")


def roc_predictors(
    curves: pd.DataFrame, *, title: str, default_rule: tuple[float, float] | None = None
) -> go.Figure:
    """ROC of every predictor against the memorization labels, best AUC first in the legend.

    Args:
        curves: One row a point of a curve, in the order of the curve: predictor, layer (null where a predictor
            has none), fpr, tpr, auc (the curve's, repeated). Points with nan are left out; of a long curve at
            most MAX_POINTS are drawn, its ends among them.
        title: Title of the figure.
        default_rule: (FPR, TPR) of PSMI's default rule (last layer, PSMI < 0), marked if given.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(curves, ["predictor", "layer", "fpr", "tpr", "auc"], "curves")
    points = finite(curves, ["fpr", "tpr", "auc"])
    if points.empty:
        return message_figure(title, "No predictor has been evaluated yet: there is no ROC curve to draw.")
    figure = style(go.Figure(), title, "The nearer to the top left corner, the better the early warning")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "width": 1.2, "dash": "dot"}, name="Chance · 0.500",
        legendrank=2000, hoverinfo="skip",
    )  # fmt: skip
    colors = series_colors(points)
    ranked = sorted(by_predictor(points), key=lambda curve: -curve[2]["auc"].iloc[0])
    for name, layer, curve in ranked:
        shown = thinned(curve)
        label = predictor_label(name, layer)
        figure.add_scatter(
            x=shown["fpr"].to_numpy(),
            y=shown["tpr"].to_numpy(),
            mode="lines",
            name=f"{label} · {curve['auc'].iloc[0]:.3f}",
            line={
                "color": colors[name, layer],
                "width": 2.6 if name in _MAIN else 1.7,
                "dash": _DASHES.get(name, "solid"),
            },
            hovertemplate=f"{label}<br>FPR %{{x:.3f}} · TPR %{{y:.3f}}<extra></extra>",
        )
    _objective(figure)
    if default_rule is not None:
        _default_rule(figure, *default_rule)
    figure.update_xaxes(title_text="False positive rate", range=[-0.012, 1.012], dtick=0.2, tickformat=".1f")
    figure.update_yaxes(title_text="True positive rate", range=[-0.012, 1.02], dtick=0.25, tickformat=".2f")
    figure.update_layout(legend={"title": {"text": "Predictor · AUC"}, "x": 1.02, "y": 1, "yanchor": "top"})
    return figure


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most MAX_POINTS points of a curve, its ends among them."""
    if len(curve) <= MAX_POINTS:
        return curve
    return curve.iloc[np.linspace(0, len(curve) - 1, MAX_POINTS).round().astype(int)]


def _objective(figure: go.Figure) -> None:
    figure.add_hline(y=TPR_OBJECTIVE, line={"color": "#b8c1ca", "width": 1.2, "dash": "dash"}, layer="below")
    figure.add_annotation(
        text=f"objective: TPR {TPR_OBJECTIVE:g}", x=1, y=TPR_OBJECTIVE, xanchor="right", yanchor="top", yshift=-2,
        showarrow=False, font={"size": 12, "color": MUTED},
    )  # fmt: skip


def _default_rule(figure: go.Figure, fpr: float, tpr: float) -> None:
    color = predictor_color("psmi")
    figure.add_scatter(
        x=[fpr], y=[tpr], mode="markers", name="PSMI < 0, default rule", showlegend=False,
        marker={"symbol": "diamond", "size": 13, "color": color, "line": {"color": "white", "width": 2}},
        hovertemplate="PSMI &lt; 0, default rule<br>FPR %{x:.3f} · TPR %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_annotation(
        text=f"<b>PSMI &lt; 0</b> (default rule)<br>FPR {fpr:.3f} · TPR {tpr:.3f}", x=fpr, y=tpr, align="left",
        xanchor="left" if fpr < 0.6 else "right", ax=44 if fpr < 0.6 else -44, ay=58 if tpr > 0.35 else -48,
        arrowcolor=color, arrowwidth=1.3, arrowhead=0, standoff=9, font={"size": 13, "color": color},
        bgcolor="rgba(255,255,255,0.88)", borderpad=3,
    )  # fmt: skip
