"""Agreement of memorization labels against the number of shadow models."""

import textwrap

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import BLUE, GREEN, MUTED, legend_below, message_figure, style, translucent

DISJOINT, ALL = "disjoint", "all"

_SHOWN = {
    "agreement": ("Memorized samples found again", BLUE),
    "spearman": ("Rank correlation of scores", GREEN),
}


def label_stability(points: pd.DataFrame, *, title: str, advice: str, enough: float) -> go.Figure:
    """How far the labels are a matter of chance.

    Solid lines compare two sets of m models that have none in common: what another study of m models would find. Dotted
    lines compare m models with all there are, which holds those m too and so flatters. Lines are medians over draws,
    bands quartiles.

    Args:
        points: One row a comparison (`disjoint`, `all`), measure (`agreement`, `spearman`) and number of models:
            comparison, measure, n_shadows, q25, median, q75.
        title: Title of the figure.
        advice: Whether more shadow models are worth it, in a sentence below the title.
        enough: Agreement that counts as stable, a horizontal line.

    Raises:
        ValueError: A column is missing, or a comparison or measure is unknown.
    """
    require_columns(points, ["comparison", "measure", "n_shadows", "q25", "median", "q75"], "points")
    require_values(points, "comparison", [DISJOINT, ALL], what="points")
    require_values(points, "measure", _SHOWN, what="points")
    kept = finite(points, ["n_shadows", "q25", "median", "q75"]).sort_values("n_shadows", kind="stable")
    if DISJOINT not in set(kept["comparison"]):
        return message_figure(title, advice)
    figure = style(go.Figure(), title, "<br>".join(textwrap.wrap(advice, 110)))
    for measure, (label, color) in _SHOWN.items():
        of_measure = kept[kept["measure"] == measure]
        disjoint, whole = (of_measure[of_measure["comparison"] == name] for name in (DISJOINT, ALL))
        figure.add_scatter(
            x=[*disjoint["n_shadows"], *disjoint["n_shadows"][::-1]], y=[*disjoint["q75"], *disjoint["q25"][::-1]],
            fill="toself", mode="lines", line={"width": 0}, fillcolor=translucent(color, 0.16), showlegend=False,
            hoverinfo="skip",
        )  # fmt: skip
        for rows, what, line in (
            (disjoint, "disjoint sets", {"color": color, "width": 2.4}),
            (whole, "against all models", {"color": color, "width": 1.4, "dash": "dot"}),
        ):
            figure.add_scatter(
                x=rows["n_shadows"].to_numpy(), y=rows["median"].to_numpy(), mode="lines+markers",
                name=f"{label}, {what}", line=line, marker={"size": 6},
                hovertemplate=f"{label}, {what}: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    figure.add_hline(
        y=enough, line={"color": MUTED, "width": 1.3, "dash": "dash"}, annotation_text=f"stable enough: {enough:g}",
        annotation_position="bottom right", annotation_font_color=MUTED,
    )  # fmt: skip
    ticks = sorted({int(size) for size in kept["n_shadows"]})
    figure.update_xaxes(
        title_text="Shadow models in a set (log scale)",
        type="log",
        tickvals=ticks,
        ticktext=[str(t) for t in ticks],
    )
    figure.update_yaxes(
        title_text="Agreement (1 = the same)", tickformat=".1f", range=[min(0.0, kept["q25"].min()), 1.03]
    )
    legend_below(figure)
    figure.update_layout(hovermode="x unified", margin_t=120)
    return figure
