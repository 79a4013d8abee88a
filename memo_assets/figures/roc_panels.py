"""Panels of ROC curves: curves, the chance line, and the text that names the areas under them."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import by_predictor
from memo_assets.figures.roc import thinned
from memo_assets.figures.theme import GREY, MUTED, legend_below, predictor_color, predictor_label


def lay_out(figure: go.Figure) -> None:
    """Leave room for the panels' titles, and put the legend below, each name in it once."""
    figure.update_layout(margin_t=132)
    names: set[str] = set()
    for trace in cast("tuple[Any, ...]", figure.data):
        trace.update(showlegend=trace.name not in names, legendgroup=trace.name)
        names.add(trace.name)
    legend_below(figure)


def roc_panel(
    figure: go.Figure, points: pd.DataFrame, colors: Mapping[Any, str], at: Mapping[str, Any]
) -> list[str]:
    """Draw the chance line and the predictors' curves; returns what the panel's text says, best AUC first."""
    chance_line(figure, 0.0, at)
    lines = [colored("<b>AUC</b>", MUTED)]
    for name, layer, curve in sorted(by_predictor(points), key=lambda curve: -curve[2]["auc"].iloc[0]):
        shown, label, auc = thinned(curve), predictor_label(name, layer), float(curve["auc"].iloc[0])
        figure.add_scatter(
            x=shown["fpr"].to_numpy(), y=shown["tpr"].to_numpy(), mode="lines", name=label,
            line={"color": colors[name, layer], "width": 2}, **at,
            hovertemplate=f"{label} · AUC {auc:.3f}<br>FPR %{{x:.3f}} · TPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        lines.append(colored(f"{label} · {auc:.3f}", colors[name, layer]))
    figure.update_xaxes(range=[-0.012, 1.012], dtick=0.2, tickformat=".1f", **at)
    figure.update_yaxes(range=[-0.012, 1.02], dtick=0.2, tickformat=".1f", **at)
    return lines


def chance_line(figure: go.Figure, low: float, at: Mapping[str, Any]) -> None:
    """Draw the diagonal from a rate to 1."""
    figure.add_scatter(
        x=[low, 1], y=[low, 1], mode="lines", name="Chance", legendrank=2000, hoverinfo="skip",
        line={"color": GREY, "width": 1.2, "dash": "dot"}, **at,
    )  # fmt: skip


def default_rule_point(figure: go.Figure, fpr: float, tpr: float, at: Mapping[str, Any]) -> str:
    """Mark what PSMI's default rule does; returns what the panel's text says of it."""
    color, name = predictor_color("psmi"), "PSMI &lt; 0, default rule"
    figure.add_scatter(
        x=[fpr], y=[tpr], mode="markers", name=name, **at,
        marker={"symbol": "diamond", "size": 12, "color": color, "line": {"color": "white", "width": 1.5}},
        hovertemplate=f"{name}<br>FPR %{{x:.3f}} · TPR %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    return colored(f"◆ PSMI &lt; 0: FPR {fpr:.3f} · TPR {tpr:.3f}", color)


def colored(text: str, color: str) -> str:
    """Text in a colour, as plotly's annotations take it."""
    return f'<span style="color:{color}">{text}</span>'


def text_block(figure: go.Figure, lines: Iterable[str], at: Mapping[str, Any]) -> None:
    """Write lines into a panel's lower right corner, where no good curve runs."""
    figure.add_annotation(
        text="<br>".join(lines), xref="x domain", yref="y domain", x=0.985, y=0.03, xanchor="right", yanchor="bottom",
        align="right", showarrow=False, font={"size": 12}, bgcolor="rgba(255,255,255,0.8)", borderpad=3, **at,
    )  # fmt: skip
