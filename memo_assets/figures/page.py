"""Pages that hold all they need: from a template of the folder `templates` to one HTML text."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from memo_assets.figures.render import Drawing, as_dict, figure_div


def page_html(template: str, *, figures: Sequence[tuple[str, str, Drawing]], **values: object) -> str:
    """One HTML page, about 5 MB, that needs no network: plotly.js is in it once.

    Args:
        template: file name of a template.
        figures: (title, one sentence on how to read it, figure), in order. The figure's own title is left out.
        values: what the template names; strings are plain text, markup in them is shown, not obeyed.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    blocks = [
        {"title": title, "how_to_read": how_to_read, "div": figure_div(_untitled(figure), f"figure-{place}")}
        for place, (title, how_to_read, figure) in enumerate(figures, start=1)
    ]
    return environment.get_template(template).render(figures=blocks, plotlyjs=get_plotlyjs(), **values)


def _untitled(figure: Drawing) -> Drawing:
    """A copy without title, which the page prints itself; the subtitle stays with the page's sentence."""
    drawing = as_dict(figure)
    layout = {name: value for name, value in drawing["layout"].items() if name != "title"}
    top = 64 if any(note.get("yanchor") == "bottom" for note in layout.get("annotations", ())) else 40
    return {**drawing, "layout": {**layout, "margin": {**layout.get("margin", {}), "t": top}}}
