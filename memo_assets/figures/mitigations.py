"""Protected variants beside their study: what an attack still tells, against test accuracy."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from memo_assets.figures.comparison import subtitle
from memo_assets.figures.frames import require_columns
from memo_assets.figures.theme import BLUE, GREY, INK, MUTED, VERMILION, legend_below, message_figure, style

_COLUMNS = ("study", "mitigation", "sample_group", "test_accuracy", "test_accuracy_sd", "attack_auc",
            "attack_tpr_at_fpr_01", "epsilon")  # fmt: skip
_GROUPS = {
    "protected": ("Samples at risk", VERMILION),
    "left": ("Samples left", BLUE),
    "all": ("All samples", INK),
}
_ROW_HEIGHT, _MARGINS = 420, 230

# Pixels, about: what a plot shows without and beyond its values, half a marker, a line of a label, a character of it.
_PLOT, _BEYOND, _MARKER, _LINE, _CHARACTER = np.array([430.0, 310.0]), 20.0, 6.0, 15.0, 6.5
_VERTICAL = ((-1, "top"), (1, "bottom"), (0, "middle"))
_HORIZONTAL = ((0, "center"), (1, "right"), (-1, "left"))


def mitigations(points: pd.DataFrame, *, title: str, missing: Sequence[str]) -> go.Figure:
    """A row a study: attack AUC against test accuracy, a point a protection; beside it the attack's TPR by group.

    Args:
        points: One row a study, mitigation and group of samples: study (its title), mitigation, sample_group (protected,
            left or all), test_accuracy and its sd, attack_auc, attack_tpr_at_fpr_01 (all in [0, 1]), epsilon (nan without).
            In the order to be drawn; a nan leaves a gap.
        title: Title of the figure.
        missing: Studies and variants that are not there yet, named below the title.

    Raises:
        ValueError: A column is missing.
    """
    require_columns(points, list(_COLUMNS), "points")
    if points.empty:
        return message_figure(title, _none(missing))
    studies = list(points["study"].unique())
    height = _MARGINS + _ROW_HEIGHT * len(studies)
    figure = make_subplots(
        rows=len(studies),
        cols=2,
        column_widths=[0.6, 0.4],
        horizontal_spacing=0.15,
        vertical_spacing=min(0.9, 110 / max(height - _MARGINS, 1)),
        subplot_titles=[text for study in studies for text in (str(study), "")],
    )
    named: set[str] = set()
    for row, study in enumerate(studies, start=1):
        of_study = points[points["study"] == study]
        _trade_off(figure, of_study[of_study["sample_group"] == "all"], row)
        _bars(figure, of_study, row, named)
        figure.update_xaxes(title_text="Test accuracy, mean and sd over models", row=row, col=1)
        figure.update_yaxes(title_text="AUC of the attack, all samples", row=row, col=1)
        figure.update_xaxes(title_text="TPR of the attack at 1 % FPR", row=row, col=2)
    sentence = "Left: further down is more private, further right more useful · dotted: chance"
    style(figure, title, subtitle(sentence, missing))
    legend_below(figure)
    figure.update_annotations(font_size=14)
    figure.update_layout(height=height, margin_t=130, barmode="group", bargap=0.3)
    return figure


def _trade_off(figure: go.Figure, rows: pd.DataFrame, row: int) -> None:
    """The point of each protection; the study itself is a diamond, with lines through it to compare with."""
    itself = (rows["mitigation"] == "none").to_numpy()
    symbols = np.where(itself, "diamond", "circle").tolist()
    sd = rows["test_accuracy_sd"].to_numpy(dtype=np.float64)
    texts = [_label(name, epsilon) for name, epsilon in zip(rows["mitigation"], rows["epsilon"], strict=True)]
    accuracy, auc = (rows[name].to_numpy(dtype=np.float64) for name in ("test_accuracy", "attack_auc"))
    figure.add_scatter(
        x=accuracy, y=auc, mode="markers+text", text=texts, textfont={"size": 12}, showlegend=False,
        textposition=_positions(accuracy, auc, sd, texts), error_x={
            "type": "data", "array": sd, "color": "#b8c1ca", "thickness": 1,
        },
        marker={"size": 11, "symbol": symbols, "color": np.where(itself, MUTED, INK).tolist()},
        hovertemplate="%{text}<br>test accuracy %{x:.1%}<br>AUC %{y:.3f}<extra></extra>", row=row, col=1,
    )  # fmt: skip
    for place in np.flatnonzero(itself & np.isfinite(accuracy) & np.isfinite(auc)):
        line = {"color": "#b8c1ca", "width": 1}
        figure.add_vline(x=accuracy[place], line=line, layer="below", row=row, col=1)  # pyright: ignore[reportArgumentType]
        figure.add_hline(y=auc[place], line=line, layer="below", row=row, col=1)  # pyright: ignore[reportArgumentType]
    chance = {"color": GREY, "width": 1.2, "dash": "dot"}
    figure.add_hline(y=0.5, line=chance, row=row, col=1)  # pyright: ignore[reportArgumentType]
    figure.update_xaxes(tickformat=".0%", row=row, col=1)
    figure.update_yaxes(tickformat=".2f", row=row, col=1)


def _bars(figure: go.Figure, rows: pd.DataFrame, row: int, named: set[str]) -> None:
    """TPR of each protection by group: the samples at risk and those left, or all where they are not told apart."""
    groups = [name for name in ("left", "protected") if (rows["sample_group"] == name).any()] or ["all"]
    for group in groups:
        of_group = rows[rows["sample_group"] == group]
        label, color = _GROUPS[group]
        figure.add_bar(
            y=list(of_group["mitigation"]), x=of_group["attack_tpr_at_fpr_01"].to_numpy(), orientation="h", name=label,
            legendgroup=group, showlegend=group not in named, marker_color=color,
            hovertemplate=f"%{{y}}, {label.lower()}: TPR %{{x:.1%}}<extra></extra>", row=row, col=2,
        )  # fmt: skip
        named.add(group)
    chance = {"color": GREY, "width": 1.2, "dash": "dot"}
    figure.add_vline(x=0.01, line=chance, row=row, col=2)  # pyright: ignore[reportArgumentType]
    figure.update_yaxes(
        autorange="reversed",
        categoryorder="array",
        categoryarray=list(rows["mitigation"].unique()),
        row=row,
        col=2,
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", row=row, col=2)


def _label(name: str, epsilon: float) -> str:
    return str(name) if pd.isna(epsilon) else f"{name}, ε {epsilon:.3g}"


def _positions(x: np.ndarray, y: np.ndarray, sd: np.ndarray, texts: Sequence[str]) -> list[str]:
    """Where each label stands: beside its point, where it covers least of points and of labels placed before it."""
    points = np.stack([_pixels(x, np.nan_to_num(sd), _PLOT[0]), _pixels(y, 0, _PLOT[1])], axis=1)
    taken = [np.concatenate([point - _MARKER, point + _MARKER]) for point in points]
    places = []
    for point, text in zip(points, texts, strict=True):
        width, boxes = _CHARACTER * len(text), {}
        for (down, vertical), (right, horizontal) in product(_VERTICAL, _HORIZONTAL):
            if (down, right) != (0, 0):
                shift = np.array([right * (width / 2 + _MARKER), -down * (_LINE / 2 + _MARKER)])
                middle = point + shift
                half = np.array([width, _LINE]) / 2
                boxes[f"{vertical} {horizontal}"] = np.concatenate([middle - half, middle + half])
        place = min(boxes, key=lambda name: _covered(boxes[name], taken))
        taken.append(boxes[place])
        places.append(place)
    return places


def _pixels(values: np.ndarray, sd: np.ndarray | float, size: float) -> np.ndarray:
    """About where a plot shows values that have error bars; 0 where there is none."""
    low, high = np.nanmin(values - sd, initial=np.inf), np.nanmax(values + sd, initial=-np.inf)
    return np.nan_to_num((values - low) / ((high - low) or 1.0) * size)


def _covered(box: np.ndarray, taken: list[np.ndarray]) -> float:
    """Area of a box (left, bottom, right, top) that lies on others or outside of the plot."""
    others = np.stack(taken)
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    outside = np.maximum(-_BEYOND - box[:2], 0).sum() + np.maximum(box[2:] - _PLOT - _BEYOND, 0).sum()
    return float(sides.clip(min=0).prod(axis=1).sum() + _LINE * outside)


def _none(missing: Sequence[str]) -> str:
    sentence = (
        "A block `protections` in a study file makes protected variants of a study, and none has been run yet"
    )
    return f"{sentence}. Not there: {', '.join(missing)}" if missing else sentence
