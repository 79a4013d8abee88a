"""What several tests of figures look at."""

from typing import Any

import plotly.graph_objects as go


def layout_of(figure: go.Figure) -> Any:
    """The figure's layout; plotly's own annotation of it names the wrong class."""
    return figure.layout


def notes(figure: go.Figure) -> str:
    """All annotations of a figure in one line."""
    return " ".join(note.text for note in layout_of(figure).annotations)


def traces(figure: go.Figure) -> list[Any]:
    """The figure's traces, in the order in which they were drawn."""
    return list(figure.data)
