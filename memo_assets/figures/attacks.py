"""How far other attacks call the same samples memorized."""

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import require_columns
from memo_assets.figures.theme import BLUE, GREEN, GRID, legend_below, message_figure, style

_LABELS = {
    "online_lira": "LiRA",
    "online_lira_fixed_variance": "LiRA, fixed variance",
    "offline_lira": "Offline LiRA",
    "offline_lira_fixed_variance": "Offline LiRA, fixed variance",
    "rmia": "RMIA",
    "offline_rmia": "Offline RMIA",
    "loo_lira": "LiRA, leave one out",
}
_MEASURES = {
    "overlap": ("Memorized samples found again", BLUE, "circle"),
    "spearman": ("Rank correlation of scores", GREEN, "diamond"),
}


def attack_label(name: str) -> str:
    """Human name of an attack; an unknown one is shown with spaces for underscores."""
    return _LABELS.get(name, name.replace("_", " "))


def score_label(attack: str) -> str:
    """What the score of an attack is called on an axis: log-LiRA by default."""
    if attack == "online_lira":
        return "log-LiRA"
    return f"score of {attack_label(attack)}" + (" (nats)" if "lira" in attack else "")


def attack_agreement(points: pd.DataFrame, *, title: str, own: str) -> go.Figure:
    """Agreement of every other attack with the study's own labels.

    Args:
        points: One row an attack: attack, overlap (share of memorized samples found again) and spearman, nan where
            undefined.
        title: Title of the figure.
        own: The study's own attack.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["attack", *_MEASURES], "points")
    others = points[points["attack"] != own].dropna(subset=list(_MEASURES), how="all")
    if others.empty:
        return message_figure(title, "No other attack has scores: there is nothing to compare.")
    others = others.sort_values("overlap", kind="stable", na_position="first")
    names = [attack_label(name) for name in others["attack"]]
    figure = style(
        go.Figure(), title, f"Compared with the study's own labels, by {attack_label(own)} · 1 = the same"
    )
    for measure, (label, color, symbol) in _MEASURES.items():
        figure.add_scatter(
            x=others[measure].to_numpy(dtype=float), y=names, mode="markers", name=label,
            marker={"size": 13, "color": color, "symbol": symbol, "line": {"color": "white", "width": 1.5}},
            hovertemplate=f"%{{y}}<br>{label}: %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
    low = float(others[list(_MEASURES)].min().min())
    figure.update_xaxes(
        title_text="Agreement", range=[min(0.0, low) - 0.02, 1.02], tickformat=".1f", dtick=0.2
    )
    figure.update_yaxes(showgrid=True, gridcolor=GRID, categoryorder="array", categoryarray=names)
    legend_below(figure)
    return figure
