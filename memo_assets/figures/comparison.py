"""Studies beside one another: predictors, PSMI's default rule, ROC curves over epochs."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.epoch_axis import epoch_text
from memo_assets.figures.frames import finite, require_columns
from memo_assets.figures.roc import thinned
from memo_assets.figures.theme import (
    COLORWAY,
    GREY,
    INK,
    legend_below,
    message_figure,
    plain,
    predictor_color,
    predictor_label,
    style,
)

_PANEL_HEIGHT, _MARGINS = 190, 240
_LONGEST_LINE = 150  # characters below the title


def predictors_over_studies(
    points: pd.DataFrame, *, title: str, missing: Sequence[str], tpr: float
) -> go.Figure:
    """FPR at the TPR objective of each predictor: a line a study, and their mean in bold from two studies on.

    Args:
        points: One row a study and predictor, in the order in which predictors are drawn: study, predictor, fpr.
        title: Title of the figure.
        missing: Studies that are not there yet, named below the title.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["study", "predictor", "fpr"], "points")
    kept = finite(points, ["fpr"])
    if kept.empty:
        return message_figure(title, _none(missing))
    figure = style(go.Figure(), title, subtitle("Lower is better", missing))
    order = [str(name) for name in points["predictor"].unique()]
    wide = kept.pivot_table(index="predictor", columns="study", values="fpr", sort=False).reindex(order)
    labels = [predictor_label(name) for name in order]
    for place, study in enumerate(wide.columns):
        figure.add_scatter(
            x=labels, y=wide[study].to_numpy(), name=plain(study), mode="lines+markers", marker={"size": 7},
            line={"color": COLORWAY[place % len(COLORWAY)], "width": 1.6}, hovertemplate=f"{plain(study)}: FPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    if len(wide.columns) > 1:
        mean = wide.dropna().mean(axis=1).reindex(order)
        figure.add_scatter(
            x=labels, y=mean.to_numpy(), name="Mean", mode="lines+markers", marker={"size": 9},
            line={"color": INK, "width": 4.5}, hovertemplate="Mean: FPR %{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Predictor (last layer)", categoryorder="array", categoryarray=labels)
    figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}", rangemode="tozero", tickformat=".2f")
    legend_below(figure)
    return figure


def default_rule_over_studies(points: pd.DataFrame, *, title: str, missing: Sequence[str]) -> go.Figure:
    """FPR and TPR of the rule PSMI < 0: filled points measured, their mean in bold, open points published.

    Args:
        points: One row a study: study, fpr, tpr, published_fpr, published_tpr (nan where there is none).
        title: Title of the figure.
        missing: Studies that are not there yet, named below the title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, ["study", "fpr", "tpr", "published_fpr", "published_tpr"], "points")
    kept = finite(points, ["fpr", "tpr"])
    if kept.empty:
        return message_figure(title, _none(missing))
    figure = style(go.Figure(), title, subtitle("Further up and left is better", missing))
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="Chance", line={"color": GREY, "width": 1.2, "dash": "dot"}, hoverinfo="skip"
    )  # fmt: skip
    for place, row in enumerate(kept.to_dict("records")):
        color = COLORWAY[place % len(COLORWAY)]
        for symbol, kind, x, y in (
            ("circle", "", row["fpr"], row["tpr"]),
            ("circle-open", ", published", row["published_fpr"], row["published_tpr"]),
        ):
            if pd.notna(x) and pd.notna(y):
                figure.add_scatter(
                    x=[x], y=[y], mode="markers", name=f"{plain(row['study'])}{kind} · {x:.3f}, {y:.3f}",
                    marker={"symbol": symbol, "size": 13, "color": color, "line": {"width": 2}},
                    hovertemplate="FPR %{x:.3f} · TPR %{y:.3f}",
                )  # fmt: skip
    if len(kept) > 1:
        x, y = kept["fpr"].mean(), kept["tpr"].mean()
        figure.add_scatter(
            x=[x], y=[y], mode="markers", name=f"<b>Mean · {x:.3f}, {y:.3f}</b>",
            marker={"symbol": "x", "size": 15, "color": INK}, hovertemplate="FPR %{x:.3f} · TPR %{y:.3f}",
        )  # fmt: skip
    figure.update_xaxes(title_text="False positive rate", range=[-0.012, 1.012])
    figure.update_yaxes(title_text="True positive rate", range=[-0.012, 1.02])
    figure.update_layout(legend={"title": {"text": "FPR, TPR"}})
    return figure


def roc_grid(curves: pd.DataFrame, *, title: str, missing: Sequence[str]) -> go.Figure:
    """A row of small ROC plots a study, a column a checkpoint.

    Args:
        curves: One row a point of a curve, in the order of the curve: study, epoch, predictor, fpr, tpr.
        title: Title of the figure.
        missing: Studies that are not there yet, named below the title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(curves, ["study", "epoch", "predictor", "fpr", "tpr"], "curves")
    kept = finite(curves, ["epoch", "fpr", "tpr"])
    if kept.empty:
        return message_figure(title, _none(missing))
    studies = list(kept["study"].unique())
    epochs = {study: sorted(kept.loc[kept["study"] == study, "epoch"].unique()) for study in studies}
    columns = max(map(len, epochs.values()))
    texts = [
        f"epoch {epoch_text(epochs[study][place])}" if place < len(epochs[study]) else ""
        for study in studies
        for place in range(columns)
    ]
    figure = make_subplots(
        rows=len(studies), cols=columns, subplot_titles=texts, shared_xaxes=True, shared_yaxes=True,
        horizontal_spacing=0.02, vertical_spacing=0.25 / max(len(studies), 2),
    )  # fmt: skip
    named = set()
    for (study, epoch, predictor), curve in kept.groupby(["study", "epoch", "predictor"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        shown, name = thinned(curve), predictor_label(str(predictor))
        figure.add_scatter(
            x=shown["fpr"].to_numpy(), y=shown["tpr"].to_numpy(), mode="lines", name=name, legendgroup=name,
            showlegend=name not in named, line={"color": predictor_color(str(predictor)), "width": 1.8},
            row=studies.index(study) + 1, col=epochs[study].index(epoch) + 1,
            hovertemplate=f"{name}<br>FPR %{{x:.3f}} · TPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        named.add(name)
    style(figure, title, subtitle("Across: false positive rate · up: true positive rate", missing))
    figure.update_annotations(font_size=12)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5, 1])
    figure.update_yaxes(range=[0, 1.01], tickvals=[0, 0.5, 1])
    for row, study in enumerate(studies, start=1):
        figure.update_yaxes(title_text=plain(study), title_font_size=11, row=row, col=1)
    legend_below(figure)
    figure.update_layout(height=max(600, _MARGINS + _PANEL_HEIGHT * len(studies)), margin_t=140)
    return figure


def subtitle(sentence: str, missing: Sequence[str]) -> str:
    """The line below the title of a figure over studies: a sentence, and as many missing studies as fit."""
    if not missing:
        return sentence
    lines = []
    for shown in range(len(missing), 0, -1):
        rest = f" and {len(missing) - shown} more" if shown < len(missing) else ""
        lines.append(f"{sentence} · not there yet: {', '.join(missing[:shown])}{rest}")
    return plain(next((line for line in lines if len(line) <= _LONGEST_LINE), lines[-1]))


def _none(missing: Sequence[str]) -> str:
    return f"No study has been evaluated yet. Not there: {', '.join(missing)}"
