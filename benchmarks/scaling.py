"""How time and memory of the kernels grow: points of curves, fitted exponents, one figure.

    python -m benchmarks.scaling [--rounds 3]

Each curve doubles one size and keeps the others. The exponent is that of a straight line through the last half of the
points in log-log: 1 means twice the time for twice the size. Figures are of this machine; the exponents say what limits.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from benchmarks.harness import in_turn, peak_megabytes, rounds_asked, write_result
from benchmarks.sliced import states
from benchmarks.subjects import subject
from benchmarks.training import packed
from memo_assets.figures.render import png_bytes
from memo_assets.figures.theme import style
from memo_assets.measures.lira import log_lira
from memo_assets.measures.mahalanobis import mahalanobis
from memo_assets.measures.population import population
from memo_assets.measures.psmi import psmi, psmi_of_layers

PICTURE = Path(__file__).parents[1] / "docs" / "scaling.png"
N, WIDTH, DIRECTIONS, CLASSES = 4000, 1024, 1000, 4


def psmi_call(n: int = N, width: int = WIDTH, directions: int = DIRECTIONS) -> Callable[[], object]:
    """PSMI of made-up hidden states."""
    hidden, labels = states(n, width)
    return lambda: psmi(hidden, labels, n_directions=directions)


def layers_call(n_layers: int) -> Callable[[], object]:
    """PSMI of several layers in one call."""
    layers = [states(1000, 576, seed=layer)[0] for layer in range(n_layers)]
    labels = states(1000, 576)[1]
    return lambda: list(psmi_of_layers(layers, labels, n_directions=DIRECTIONS))


def mahalanobis_call(n: int) -> Callable[[], object]:
    """Mahalanobis distance on 100 components."""
    hidden, _ = states(n, WIDTH)
    return lambda: mahalanobis(hidden, n_components=100)


def attack_call(models: int, n: int, *, all_measures: bool = False) -> Callable[[], object]:
    """Log-LiRA of one target, or all population measures."""
    rng = np.random.default_rng(0)
    inside = rng.random((models, n)) < 0.5
    inside[0] = True
    gaps = rng.normal(size=(models, n)) + 2 * inside
    if all_measures:
        return lambda: population(gaps, gaps, inside)
    return lambda: log_lira(gaps, inside, 0)


CURVES: dict[str, tuple[str, Sequence[int], Callable[[int], Callable[[], object]]]] = {
    "PSMI, samples N": ("N", (1000, 2000, 4000, 8000, 16_000), lambda n: psmi_call(n=n)),
    "PSMI, width d": ("d", (512, 1024, 2048, 4096), lambda d: psmi_call(width=d)),
    "PSMI, directions": ("directions", (250, 500, 1000, 2000, 4000), lambda k: psmi_call(directions=k)),
    "PSMI, layers": ("layers", (2, 4, 8, 16, 32), layers_call),
    "Mahalanobis, samples N": ("N", (2000, 4000, 8000, 16_000), mahalanobis_call),
    "log-LiRA, shadow models": ("models", (25, 50, 100, 200, 400), lambda s: attack_call(s, 15_000)),
    "population measures, shadow models": (
        "models",
        (25, 50, 100, 200),
        lambda s: attack_call(s, 15_000, all_measures=True),
    ),
}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope in log-log over the last half of the points, at least two."""
    last = slice(-max(2, (len(sizes) + 1) // 2), None)
    return float(np.polyfit(np.log(sizes[last]), np.log(values[last]), 1)[0])


def curve(name: str, rounds: int) -> dict[str, Any]:
    """Median seconds and peak megabytes at every size of a curve."""
    axis, sizes, make = CURVES[name]
    seconds, megabytes = [], []
    for size in sizes:
        call = make(size)
        seconds.append(statistics.median(in_turn({"call": call}, rounds)["call"]))
        megabytes.append(peak_megabytes(call))
    found = {
        "name": name,
        "axis": axis,
        "sizes": list(sizes),
        "seconds": seconds,
        "megabytes": megabytes,
        "exponent_of_time": exponent(sizes, seconds),
    }
    print(f"{name}: time grows with exponent {found['exponent_of_time']:.2f}", flush=True)
    return found


def packs(rounds: int) -> dict[str, Any]:
    """CPU milliseconds a sample of training the tiny Llama, by the number of adapters in a pack."""
    sizes, milliseconds = (1, 2, 4, 8, 16, 32), []
    with tempfile.TemporaryDirectory() as parent:
        cities = subject("cities", Path(parent))
        for k in sizes:
            run = packed(cities, k, 30)
            milliseconds.append(1000 / statistics.median(run() for _ in range(rounds)))
    found = {
        "name": "training, adapters a pack",
        "axis": "adapters",
        "sizes": list(sizes),
        "seconds": [value / 1000 for value in milliseconds],
        "megabytes": None,
        "exponent_of_time": exponent(sizes, milliseconds),
    }
    print(f"training, CPU time a sample: exponent {found['exponent_of_time']:.2f}", flush=True)
    return found


def picture(curves: Sequence[dict[str, Any]]) -> go.Figure:
    """One panel a curve: seconds over size in log-log, with the exponent in its title, and megabytes on the right."""
    titles = [f"{one['name']}<br>time ~ size^{one['exponent_of_time']:.2f}" for one in curves]
    columns = 4
    rows = -(-len(curves) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=titles,
        vertical_spacing=0.2,
        horizontal_spacing=0.08,
        specs=[[{"secondary_y": True}] * columns] * rows,
    )
    for place, one in enumerate(curves):
        where: dict[str, Any] = {"row": place // columns + 1, "col": place % columns + 1}
        first = place == 0
        line = {"name": "seconds", "line_color": "#0072B2", "mode": "lines+markers", "showlegend": first}
        figure.add_scatter(x=one["sizes"], y=one["seconds"], **line, **where)
        if one["megabytes"]:
            line |= {"name": "MB above the inputs", "line_color": "#D55E00", "line_dash": "dot"}
            figure.add_scatter(x=one["sizes"], y=one["megabytes"], **line, **where, secondary_y=True)
            marks = [0.0, max(one["megabytes"])]
            limits: dict[str, Any] = {
                "range": [0, 1.1 * marks[1]],
                "tickvals": marks,
                "tickformat": ".0f",
                "tickmode": "array",
            }
            figure.update_yaxes(**limits, showgrid=False, **where, secondary_y=True)
        figure.update_xaxes(type="log", title_text=one["axis"], tickvals=one["sizes"], **where)
        title = "seconds" if place % columns == 0 else None
        figure.update_xaxes(tickangle=0, tickfont_size=11, **where)
        shown: list[float] = []  # values of points, but for those that would cover another
        for value in sorted(one["seconds"]):
            if not shown or value > 1.15 * shown[-1]:
                shown.append(value)
        ticks: dict[str, Any] = {"tickvals": shown, "ticktext": [f"{value:.2g}" for value in shown]}
        figure.update_yaxes(type="log", **ticks, title_text=title, **where, secondary_y=False)
    figure.update_layout(height=330 * rows, width=1400)
    figure.update_annotations(font_size=12)
    figure = style(figure, "Time and memory over size, one size doubled at a time")
    return figure.update_layout(
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.1, "yanchor": "bottom"}
    )


def main() -> None:
    """All curves, their figure and their points."""
    rounds = rounds_asked(__doc__, 3)
    began = time.perf_counter()
    curves = [curve(name, rounds) for name in CURVES]
    torch.set_num_threads(1)
    curves.append(packs(rounds))
    write_result("scaling", curves=curves)
    PICTURE.write_bytes(png_bytes([picture(curves)])[0])
    print(f"{len(curves)} curves in {time.perf_counter() - began:.0f} s: {PICTURE}")


if __name__ == "__main__":
    main()
