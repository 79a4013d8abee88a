"""Two views of how vulnerable a sample is on average over models, against each other."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import rankdata, spearmanr

from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import BLUE, PURPLE, VERMILION, legend_below, message_figure, style

MAX_POINTS = 4000
_MEASURES = ["counterfactual", "attack_success_rate"]
_STATUS = {
    "true": ("samples", BLUE),
    "random": ("samples with a noisy label", VERMILION),
    "canary": ("canaries", PURPLE),
}


def rank_scatter(values: pd.DataFrame, *, title: str) -> go.Figure:
    """Ranks of counterfactual memorization against ranks of the attack success rate, with Spearman's rho.

    Ranks are in percent of the samples, ties sharing their mean rank. At most MAX_POINTS samples are drawn, evenly
    taken along counterfactual memorization; ranks and rho are those of all.

    Args:
        values: One row a sample: counterfactual, attack_success_rate, label_status ('true', 'random' or 'canary'). Rows
            with nan are left out.
        title: Title of the figure.

    Raises:
        ValueError: A column is missing, or a label status is unknown.
    """
    require_columns(values, [*_MEASURES, "label_status"], "values")
    require_values(values, "label_status", _STATUS, what="values")
    kept = finite(values, _MEASURES)
    if len(kept) < 2 or np.ptp(kept[_MEASURES].to_numpy(), axis=0).min() == 0:
        return message_figure(title, "The samples do not differ: there are no ranks to compare.")
    rho = float(np.asarray(spearmanr(kept["counterfactual"], kept["attack_success_rate"]))[0])
    ranked = kept.assign(
        x=100 * rankdata(kept["counterfactual"]) / len(kept),
        y=100 * rankdata(kept["attack_success_rate"]) / len(kept),
    ).sort_values("x", kind="stable")
    shown = ranked.iloc[
        np.unique(np.linspace(0, len(ranked) - 1, min(MAX_POINTS, len(ranked))).round().astype(int))
    ]
    drawn = "" if len(shown) == len(ranked) else f", {len(shown)} drawn"
    figure = style(go.Figure(), title, f"Spearman's rho = {rho:.3f} over {len(ranked)} samples{drawn}")
    for status, (name, color) in _STATUS.items():
        group = shown.loc[shown["label_status"] == status]
        if not group.empty:
            figure.add_scatter(
                x=group["x"].to_numpy(), y=group["y"].to_numpy(), mode="markers", name=name,
                marker={"size": 5, "color": color, "opacity": 0.5},
                hovertemplate="counterfactual %{x:.1f} % · attack %{y:.1f} %<extra></extra>",
            )  # fmt: skip
    ticks = {"range": [-1, 102], "dtick": 25, "ticksuffix": " %"}
    figure.update_xaxes(title_text="Rank of counterfactual memorization", **ticks)
    figure.update_yaxes(title_text="Rank of attack success rate", **ticks)
    legend_below(figure)
    return figure
