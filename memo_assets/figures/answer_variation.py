"""Accuracy on training questions before and after their right option's text is replaced."""

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import finite, require_columns, require_values
from memo_assets.figures.theme import BLUE, VERMILION, legend_below, message_figure, style

_AMONG = {"memorized": "memorized samples", "other": "other samples", "all": "all samples"}
_MEASURES = {
    "accuracy": ("As the question is", BLUE),
    "varied_accuracy": ("Right option: none of the other answers", VERMILION),
}


def answer_variation(rates: pd.DataFrame, *, title: str, note: str) -> go.Figure:
    """Bars of accuracy with intervals, memorized samples beside the others.

    Args:
        rates: One row a group ('memorized', 'other', 'all') and measure ('accuracy', 'varied_accuracy', others are not
            drawn): among, measure, rate, low, high, trials. Rows with nan are left out.
        title: Title of the figure.
        note: What is lost, in a line below the title.

    Raises:
        ValueError: A column is missing, or a group is unknown.
    """
    require_columns(rates, ["among", "measure", "rate", "low", "high", "trials"], "rates")
    require_values(rates, "among", _AMONG, what="rates")
    kept = finite(rates, ["rate", "low", "high"])
    kept = kept[kept["measure"].isin(_MEASURES)]
    if kept.empty:
        return message_figure(title, "Too few questions could be varied to carry a rate.")
    figure = style(go.Figure(), title, note)
    for measure, (name, color) in _MEASURES.items():
        rows = kept[kept["measure"] == measure].set_index("among")
        groups = [among for among in _AMONG if among in rows.index]
        rows = rows.loc[groups]
        figure.add_bar(
            x=[_AMONG[among] for among in groups], y=rows["rate"].to_numpy(), name=name, marker_color=color,
            error_y={"array": (rows["high"] - rows["rate"]).to_numpy(),
                     "arrayminus": (rows["rate"] - rows["low"]).to_numpy(), "thickness": 1.4},
            customdata=rows[["low", "high", "trials"]].to_numpy(),
            hovertemplate=f"{name}: %{{y:.3f}} (%{{customdata[0]:.3f}} to %{{customdata[1]:.3f}}) of "
            "%{customdata[2]} samples<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(categoryorder="array", categoryarray=list(_AMONG.values()))
    figure.update_yaxes(title_text="Accuracy", range=[0, 1.03], tickformat=".1f")
    legend_below(figure)
    return figure
