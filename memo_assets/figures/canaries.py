"""Canaries: how they stand out to predictors, and to the membership attack."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.roc import MAX_POINTS
from memo_assets.figures.roc_panels import chance_line, colored, lay_out, roc_panel, text_block
from memo_assets.figures.theme import INK, MUTED, decades, message_figure, series_colors, style

CANARIES, OTHERS = "canaries", "other samples"
LOW_FPR, SMALLEST_RATE = 0.01, 1e-4
_GROUPS = {CANARIES: INK, OTHERS: MUTED}


def canary_roc(curves: pd.DataFrame, membership: pd.DataFrame, *, title: str) -> go.Figure:
    """How canaries stand out, to predictors and to the membership attack.

    Left: predictors tell canaries from the other training samples. Right, on log axes: the attack tells models
    that were trained on a sample from those that were not.

    Args:
        curves: As in `roc_by_eta`, but for eta and n_memorized; no points leave only the right panel.
        membership: One row a point of a curve, in the order of the curve: group ('canaries' or 'other samples'), fpr,
            tpr, auc; no points leave only the left panel. Points at a rate of 0 have no place on log axes; those begin
            at the smallest rate there is, at 1e-4 at the lowest.
        title: Title of the figure.

    Raises:
        ValueError: A column is missing, or a group is unknown.
    """
    require_columns(curves, ["predictor", "layer", "fpr", "tpr", "auc"], "curves")
    predicted = finite(curves, ["fpr", "tpr", "auc"])
    require_columns(membership, ["group", "fpr", "tpr", "auc"], "membership")
    require_values(membership, "group", _GROUPS, what="membership")
    attacked = finite(membership, ["fpr", "tpr", "auc"])
    texts = ("Canaries told from other training samples", "Models trained on a sample told from the rest")
    drawn = [text for text, points in zip(texts, (predicted, attacked), strict=True) if not points.empty]
    if not drawn:
        return message_figure(title, "Neither predictors nor the attack have been evaluated on canaries yet.")
    figure = make_subplots(rows=1, cols=len(drawn), subplot_titles=drawn, horizontal_spacing=0.11)
    figure.update_annotations(font_size=14)
    at = {"row": 1, "col": 1}
    if not predicted.empty:
        text_block(figure, roc_panel(figure, predicted, series_colors(predicted), at), at)
    if not attacked.empty:
        _membership_panel(figure, attacked, {"row": 1, "col": len(drawn)})
    style(figure, title, "The further above the chance line, the more canaries stand out")
    figure.update_xaxes(title_text="False positive rate")
    figure.update_yaxes(title_text="True positive rate")
    lay_out(figure)
    return figure


def _membership_panel(figure: go.Figure, points: pd.DataFrame, at: Mapping[str, Any]) -> None:
    rates = points[["fpr", "tpr"]].to_numpy()
    low = float(np.clip(rates[rates > 0].min(initial=0.1), SMALLEST_RATE, 0.1))
    chance_line(figure, low, at)
    lines = [colored(f"<b>AUC · TPR at {100 * LOW_FPR:g} % FPR</b>", MUTED)]
    for group, curve in points.groupby("group"):
        label, color = f"Attack on {group}", _GROUPS[str(group)]
        shown = _thinned_to_the_left(curve.loc[(curve["fpr"] > 0) & (curve["tpr"] > 0)])
        figure.add_scatter(
            x=shown["fpr"].to_numpy(), y=shown["tpr"].to_numpy(), mode="lines", name=label,
            line={"color": color, "width": 2.4}, **at,
            hovertemplate=f"{label}<br>FPR %{{x:.3g}} · TPR %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
        tpr = curve.loc[curve["fpr"] <= LOW_FPR, "tpr"].to_numpy().max(initial=0.0)
        lines.append(colored(f"{label} · {curve['auc'].iloc[0]:.3f} · {tpr:.3f}", color))
    text_block(figure, lines, at)
    axis = decades(np.array([low, 1.0]))
    figure.update_xaxes(**axis, **at).update_yaxes(**axis, **at)


def _thinned_to_the_left(curve: pd.DataFrame) -> pd.DataFrame:
    """At most MAX_POINTS points of a curve, its ends among them, the denser the further left."""
    if len(curve) <= MAX_POINTS:
        return curve
    return curve.iloc[np.unique(np.geomspace(1, len(curve), MAX_POINTS).round().astype(int) - 1)]
