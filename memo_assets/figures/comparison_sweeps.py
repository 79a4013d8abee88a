"""Predictors and accuracy over the values of a sweep."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.comparison import subtitle
from memo_assets.figures.epoch_axis import epoch_text
from memo_assets.figures.frames import require_columns
from memo_assets.figures.theme import (
    INK,
    MUTED,
    decades,
    legend_below,
    message_figure,
    plain,
    predictor_color,
    predictor_label,
    style,
)

_PREDICTORS = ("psmi", "loss", "logit_gap")
_PANEL_HEIGHT, _GAP, _MARGINS = 220, 100, 240
_LONGEST_TEXT = 24


def over_swept_values(points: pd.DataFrame, *, title: str, missing: Sequence[str], tpr: float) -> go.Figure:
    """FPR at the TPR objective, and test accuracy below it: two rows a swept study, a column a swept field.

    Numbers stand on an axis of numbers, a log one where they are positive and span a decade or more; anything else
    on an axis of categories, in the order given.

    Args:
        points: One row a swept field and study: study (title of the swept one), field, value (number or anything else),
            name (of this study), itself (whether it is the swept one), line (equal for points that are joined), epoch,
            psmi, loss, logit_gap, test_accuracy (in [0, 1]). A nan leaves a gap.
        title: Title of the figure.
        missing: Swept studies and variants that are not there yet, named below the title.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing.
    """
    columns = ["study", "field", "value", "name", "itself", "line", "epoch", *_PREDICTORS, "test_accuracy"]
    require_columns(points, columns, "points")
    if points.empty:
        return message_figure(title, _none(missing))
    fields = {study: list(rows["field"].unique()) for study, rows in points.groupby("study", sort=False)}
    width = max(map(len, fields.values()))
    present = [[{} if place < len(fields[study]) else None for place in range(width)] for study in fields]
    height = _MARGINS + 2 * _PANEL_HEIGHT * len(fields)
    gap = _GAP / (height - _MARGINS)
    figure = make_subplots(
        rows=2 * len(fields), cols=width, horizontal_spacing=0.25 / max(width, 3), vertical_spacing=gap,
        specs=[row for row in present for _ in range(2)],
    )  # fmt: skip
    for place, (study, names) in enumerate(fields.items()):
        for col, field in enumerate(names, start=1):
            of_field = points[(points["study"] == study) & (points["field"] == field)]
            _panels(figure, of_field, plain(field), row=2 * place + 1, col=col)
            axis = cast("Any", figure.get_subplot(2 * place + 1, col)).yaxis
            axis.domain = [axis.domain[0] - 0.75 * gap, axis.domain[1]]  # the two panels belong together
        figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}", row=2 * place + 1, col=1)
        figure.update_yaxes(title_text="Test accuracy", row=2 * place + 2, col=1)
        top = cast("Any", figure.get_subplot(2 * place + 1, 1)).yaxis.domain[1]
        figure.add_annotation(
            text=plain(study), font_size=14, showarrow=False, x=0, xref="paper", xanchor="left", y=top, yref="paper",
            yanchor="bottom", yshift=6,
        )  # fmt: skip
    for predictor in _PREDICTORS:
        _legend(figure, predictor_label(predictor), predictor_color(predictor), "circle")
    _legend(figure, "the study itself", MUTED, "diamond")
    sentence = "FPR: lower is better · lines join studies that are alike in the other fields"
    style(figure, title, subtitle(sentence, missing))
    legend_below(figure)
    figure.update_layout(height=height, margin_t=130)
    return figure


def _panels(figure: go.Figure, rows: pd.DataFrame, field: str, *, row: int, col: int) -> None:
    """The two panels of one field of one study; row is the upper one."""
    axis = _axis(list(rows["value"]))
    if axis["type"] == "category":
        rows = rows.assign(value=list(map(plain, rows["value"])))
    else:
        rows = rows.assign(value=rows["value"].astype("float64")).sort_values("value", kind="stable")
    for _, line in rows.groupby("line", sort=False):
        names = [plain(name) for name in line["name"]]
        judged = [
            f"{name}, epoch {epoch_text(epoch)}" for name, epoch in zip(names, line["epoch"], strict=True)
        ]
        symbols = list(np.where(line["itself"].astype(bool), "diamond", "circle"))
        for measure in (*_PREDICTORS, "test_accuracy"):
            above = measure in _PREDICTORS
            color = predictor_color(measure) if above else INK
            label = f"{predictor_label(measure)}: FPR %{{y:.3f}}" if above else "Test accuracy: %{y:.1%}"
            figure.add_scatter(
                x=line["value"].to_numpy(), y=line[measure].to_numpy(dtype=np.float64), mode="lines+markers",
                marker={"size": [11 if symbol == "diamond" else 7 for symbol in symbols], "symbol": symbols, "opacity": 1},
                line={"color": color, "width": 1.8}, showlegend=False, customdata=judged if above else names,
                hovertemplate=f"{label}<br>{field} %{{x}}<br>%{{customdata}}<extra></extra>",
                row=row if above else row + 1, col=col,
            )  # fmt: skip
    lower = cast("Any", figure.get_subplot(row + 1, col)).xaxis.plotly_name.replace("axis", "")
    figure.update_xaxes(**axis, matches=lower, showticklabels=False, row=row, col=col)
    figure.update_xaxes(**axis, title_text=field, row=row + 1, col=col)
    figure.update_yaxes(rangemode="tozero", tickformat=".2f", row=row, col=col)
    figure.update_yaxes(tickformat=".0%", row=row + 1, col=col)


def _axis(values: list[Any]) -> dict[str, Any]:
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        texts = list(dict.fromkeys(map(str, values)))
        short = [plain(t if len(t) <= _LONGEST_TEXT else f"{t[: _LONGEST_TEXT - 1]}…") for t in texts]
        names = list(map(plain, texts))
        order = {"categoryorder": "array", "categoryarray": names, "range": [-0.5, len(names) - 0.5]}
        return {"type": "category", **order, "tickvals": names, "ticktext": short}
    numbers = np.asarray(values, dtype=np.float64)
    low, high = numbers.min(), numbers.max()
    if low > 0 and high >= 10 * low:
        return decades(numbers)
    pad = 0.05 * (high - low) or 0.1 * abs(high) or 0.5
    return {"type": "linear", "range": [low - pad, high + pad]}


def _legend(figure: go.Figure, name: str, color: str, symbol: str) -> None:
    figure.add_scatter(
        x=[None], y=[None], mode="markers", name=name, marker={"color": color, "symbol": symbol, "size": 9}
    )


def _none(missing: Sequence[str]) -> str:
    sentence = "A sweep in a study file makes variants of a study by values of its fields, and no variant has been evaluated yet"
    return f"{sentence}. Not there: {', '.join(missing)}" if missing else sentence
