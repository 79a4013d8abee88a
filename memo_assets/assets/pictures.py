"""Writing figures of one run: data, page and picture, with the picture in the web UI."""

import base64
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import dagster as dg

from memo_assets.config import GpuStep
from memo_assets.store.layout import Layout

INLINE_WIDTH = 1000

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from memo_assets.figures.render import Pictures


class PicturesResource(dg.ConfigurableResource):
    """The browser that draws figures as PNG.

    It starts with a run of selected assets, so that it has loaded its page when figures come; in a run that waits for GPUs,
    or may, with the first figure.
    """

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Any]:
        """`Pictures`."""
        from memo_assets.figures.render import Pictures

        selected = context.dagster_run and context.dagster_run.asset_selection
        with Pictures() as pictures:
            if selected and not {key.path[-1] for key in selected}.intersection(get_args(GpuStep)):
                pictures.start()
            yield pictures


def write_figures(
    context: dg.AssetExecutionContext, layout: Layout, figures: Iterable[tuple[str, "go.Figure"]]
) -> Iterator[dg.MaterializeResult]:
    """Write figures as JSON, HTML and PNG; without a browser, a warning and no PNG.

    The browser draws PNGs while figures are made and written. Nothing is written before all figures are made.

    Args:
        context: of the run, with the resource `pictures`.
        layout: whose figures they are; its `study` is the key prefix of the assets.
        figures: by asset name, each made when it is asked for.

    Yields:
        The result of each figure; its data version is the hash of the figure.
    """
    from memo_assets.figures.render import BrowserMissing
    from memo_assets.figures.theme import fit_title

    pictures: Pictures = context.resources.pictures
    made, has_browser = [], True
    with ThreadPoolExecutor(1) as shrinking:
        try:
            for name, figure in figures:
                fit_title(figure)
                drawing = figure.to_dict()  # once for the picture, the page and the data
                png = pictures.png(drawing)
                made.append((name, drawing, png, shrinking.submit(_picture, png, name)))
            for name, drawing, _, asked in made:
                picture = None
                try:
                    picture = asked.result() if has_browser else None
                except BrowserMissing as error:
                    has_browser = False
                    context.log.warning(f"no PNG pictures, HTML only: {error}")
                yield _written(layout, name, drawing, picture)
        finally:  # nobody waits for pictures any more, should one of them not be drawn yet
            for _, _, png, _ in made:
                png.cancel()


class _Picture(NamedTuple):
    """A figure as PNG, and as Markdown that shows it at the size of the web UI's dialog."""

    png: bytes
    inline: str


def _picture(asked: Future[bytes], name: str) -> _Picture:
    """Wait for a PNG and make the small one of it, beside the work of the caller."""
    from PIL import Image

    png = asked.result()
    picture = Image.open(io.BytesIO(png)).convert("RGB")  # no part of it is transparent
    small = io.BytesIO()
    picture.reduce(max(1, picture.width // INLINE_WIDTH)).save(small, "PNG")
    return _Picture(png, f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})")


def _written(
    layout: Layout, name: str, drawing: dict[str, Any], picture: _Picture | None
) -> dg.MaterializeResult:
    """Write the files of one figure."""
    import plotly.io

    from memo_assets.figures.render import figure_html
    from memo_assets.store.files import content_hash, write_bytes, write_text

    write_text(layout.figure(name, "json"), str(plotly.io.to_json(drawing, validate=False)))
    write_bytes(layout.figure(name, "html"), figure_html(drawing))
    metadata: dict = {"page": dg.MetadataValue.path(layout.figure(name, "html"))}
    layout.figure(name, "png").unlink(missing_ok=True)
    if picture is not None:
        write_bytes(layout.figure(name, "png"), picture.png)
        metadata["picture"] = dg.MetadataValue.md(picture.inline)
    version = content_hash(layout.figure(name, "json"))
    key = dg.AssetKey([layout.study, name])
    return dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
