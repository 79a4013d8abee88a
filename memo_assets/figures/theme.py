"""The look of all figures: template, names and colours of predictors, titles, vertical lines, messages.

What belongs here: everything that two figures share and a reader recognizes. What does not: any single figure.
"""

import html
import textwrap
from typing import Any, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

FONT = "Inter, 'Source Sans 3', 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
INK = "#1f2933"
MUTED = "#66727f"
GRID = "#e8ecf0"

# Okabe and Ito's palette where the method's main actors are concerned, Tol's muted one for the rest: both keep
# apart under the common forms of colour blindness.
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a949e"

COLORWAY = [BLUE, VERMILION, GREEN, PURPLE, "#E69F00", "#56B4E9", INK, GREY]

_LABELS_AND_COLORS = {
    "psmi": ("PSMI", BLUE),
    "psmi_low": ("PSMI, 1 % quantile", "#56B4E9"),
    "psmi_high": ("PSMI, 99 % quantile", "#004C78"),
    "psmi_sd": ("PSMI, sd", "#8796D9"),
    "psmi_slope": ("PSMI slope", "#332288"),
    "loss": ("Loss", VERMILION),
    "logit_gap": ("Logit gap", GREEN),
    "mahalanobis": ("Mahalanobis", PURPLE),
    "early_log_lira": ("Early log-LiRA", INK),
    "el2n": ("EL2N", "#E69F00"),
    "aum": ("AUM", "#44AA99"),
    "forgetting": ("Forgetting", "#882255"),
    "cartography_mean": ("Cartography mean", "#117733"),
    "cartography_sd": ("Cartography sd", "#999933"),
    "cumulative_loss": ("Cumulative loss", "#CC6677"),
    "lt_iqr": ("LT-IQR", "#AA4499"),
    "calibrated_loss": ("Calibrated loss", "#A0522D"),
    "random": ("Random", GREY),
}

_TITLE_CHARACTERS, _TITLE_LINE_PIXELS = 88, 26

_AXIS = {
    "gridcolor": GRID,
    "linecolor": "#b8c1ca",
    "showline": True,
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "#b8c1ca",
    "tickfont": {"size": 13, "color": MUTED},
    "title": {"font": {"size": 14}, "standoff": 10},
    "automargin": True,
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 14, "color": INK},
        "title": {
            "font": {"size": 20, "weight": 600},
            "subtitle": {"font": {"size": 14, "color": MUTED}},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.965,
            "yanchor": "top",
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": COLORWAY,
        "margin": {"l": 72, "r": 32, "t": 96, "b": 64},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"font": {"size": 13}, "title": {"font": {"size": 13, "color": MUTED}}},
        "hoverlabel": {"font": {"family": FONT, "size": 13}, "bgcolor": "white"},
    }
)


def predictor_label(name: str, layer: Any = None) -> str:
    """Human name of a predictor, with its layer if it has one: `PSMI, layer 2`.

    A name this module does not know is shown as it is, with spaces for underscores.
    """
    label = _LABELS_AND_COLORS[name][0] if name in _LABELS_AND_COLORS else name.replace("_", " ")
    return label if pd.isna(layer) else f"{label}, layer {int(layer)}"


def predictor_color(name: str, depth: float = 1.0) -> str:
    """Colour of a predictor in every figure, as hex; depth 1 is its full colour, 0 the palest readable tint."""
    color = _LABELS_AND_COLORS[name][1] if name in _LABELS_AND_COLORS else MUTED
    white = 0.6 * (1 - depth)
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + white * (255 - c)):02x}" for c in channels)


def series_colors(frame: pd.DataFrame) -> dict[tuple[str, int | None], str]:
    """Colour of every (predictor, layer): a predictor's layers go from pale (first) to its full colour (last).

    Args:
        frame: predictor, layer (null where a predictor has none, then None in the key).
    """
    colors: dict[tuple[str, int | None], str] = {}
    for key, rows in frame.groupby("predictor"):
        name = str(key)
        colors[name, None] = predictor_color(name)
        layers = np.unique(rows["layer"].dropna().to_numpy(dtype=np.int64))
        depths = [1.0] if len(layers) == 1 else np.linspace(0, 1, len(layers))
        for layer, depth in zip(layers, depths, strict=True):
            colors[name, int(layer)] = predictor_color(name, float(depth))
    return colors


def translucent(color: str, alpha: float) -> str:
    """The hex colour as `rgba(...)` with the given opacity, for bands and bars."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def plain(text: object) -> str:
    """Text of a user's for a figure, shown as it is: plotly would obey tags, entities and placeholders in it."""
    return html.escape(str(text), quote=False).replace("%{", "&#37;{")


def style(figure: go.Figure, title: str, subtitle: str = "") -> go.Figure:
    """Give the figure the common template, its title (plain text) and the line below it; returns the same figure."""
    figure.update_layout(
        template=TEMPLATE, title={"text": plain(title), "subtitle": {"text": subtitle or None}}
    )
    return figure


def fit_title(figure: go.Figure) -> None:
    """Break a title that is too long for a picture 1000 pixels wide into lines, and make room for these above the plot."""
    layout, usual = cast("Any", figure.layout), cast("Any", TEMPLATE.layout)
    lines = textwrap.wrap(layout.title.text or "", _TITLE_CHARACTERS, break_long_words=False)
    if len(lines) > 1:
        top = usual.margin.t if layout.margin.t is None else layout.margin.t
        more = len(lines) - 1
        figure.update_layout(
            title={"text": "<br>".join(lines), "y": usual.title.y - 0.02 * more},
            margin_t=top + _TITLE_LINE_PIXELS * more,
        )


def message_figure(title: str, sentence: str) -> go.Figure:
    """A figure that says in one sentence why there is nothing to draw."""
    figure = style(go.Figure(), title)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text="<br>".join(
            map(plain, textwrap.wrap(sentence, 95, break_long_words=False, break_on_hyphens=False))
        ),
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": 16, "color": MUTED},
    )
    return figure


def legend_below(figure: go.Figure) -> None:
    """Put the legend in rows at the bottom edge; the plot gives way, however many rows it takes."""
    figure.update_layout(
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 0.01,
            "yref": "container",
            "yanchor": "bottom",
        }
    )


def decades(values: np.ndarray) -> dict[str, Any]:
    """Settings of a log axis for these positive values: a tick a decade, or 1, 2, 5 within one or two decades."""
    low, high = np.log10(np.min(values)), np.log10(np.max(values))
    pad = 0.05 * max(high - low, 0.5)
    steps = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(int(np.floor(low)) - 1, int(np.ceil(high)) + 2)
    ticks = [step * 10.0**power for power in powers for step in steps]
    texts = [
        f"{step:g}·10<sup>{power}</sup>"
        if power < -3 and step > 1
        else f"10<sup>{power}</sup>"
        if power < -3
        else f"{step * 10.0**power:g}"
        for power in powers
        for step in steps
    ]
    return {"type": "log", "range": [low - pad, high + pad], "tickvals": ticks, "ticktext": texts}


def vertical_line(figure: go.Figure, x: float, *, name: str, dash: str, color: str = MUTED) -> None:
    """Draw a vertical line through all panels and name it in the legend, where labels cannot collide."""
    figure.add_vline(x=x, line={"color": color, "width": 1.5, "dash": dash})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", name=name, line={"color": color, "width": 1.5, "dash": dash}
    )
