"""Writing figures of one run: data, page and picture, with the picture in the web UI."""

import base64
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from memo_assets.store.layout import Layout

INLINE_WIDTH = 1000

if TYPE_CHECKING:
    import plotly.graph_objects as go


def write_figures(
    context: dg.AssetExecutionContext, layout: Layout, figures: Iterable[tuple[str, "go.Figure"]]
) -> Iterator[dg.MaterializeResult]:
    """Write figures as JSON, HTML and PNG; without a browser, a warning and no PNG.

    One browser draws the PNGs while figures are made and written. Nothing is written before all figures are made.

    Args:
        context: of the run.
        layout: whose figures they are; its `study` is the key prefix of the assets.
        figures: by asset name, each made when it is asked for.

    Yields:
        The result of each figure; its data version is the hash of the figure.
    """
    from memo_assets.figures.render import BrowserMissing, Pictures
    from memo_assets.figures.theme import fit_title

    no_pictures = "no PNG pictures, HTML only: {}"
    with ExitStack() as stack:
        shrinking = stack.enter_context(ThreadPoolExecutor(1))
        pictures = None
        try:
            pictures = stack.enter_context(Pictures())
        except BrowserMissing as error:
            context.log.warning(no_pictures.format(error))
        made = []
        for name, figure in figures:
            fit_title(figure)
            picture = shrinking.submit(_picture, pictures.png(figure), name) if pictures else None
            made.append((name, figure, picture))
        for name, figure, asked in made:
            picture = None
            try:
                picture = asked.result() if asked and pictures else None
            except BrowserMissing as error:
                pictures = None
                context.log.warning(no_pictures.format(error))
            yield _written(layout, name, figure, picture)


class _Picture(NamedTuple):
    """A figure as PNG, and as Markdown that shows it at the size of the web UI's dialog."""

    png: bytes
    inline: str


def _picture(asked: Future[bytes], name: str) -> _Picture:
    """Wait for a PNG and make the small one of it, beside the work of the caller."""
    from PIL import Image

    png = asked.result()
    picture = Image.open(io.BytesIO(png))
    small = io.BytesIO()
    picture.reduce(max(1, picture.width // INLINE_WIDTH)).save(small, "PNG")
    return _Picture(png, f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})")


def _written(
    layout: Layout, name: str, figure: "go.Figure", picture: _Picture | None
) -> dg.MaterializeResult:
    """Write the files of one figure."""
    from memo_assets.figures.render import figure_html
    from memo_assets.store.files import content_hash, write_bytes, write_text

    write_text(layout.figure(name, "json"), str(figure.to_json()))
    write_text(layout.figure(name, "html"), figure_html(figure))
    metadata: dict = {"page": dg.MetadataValue.path(layout.figure(name, "html"))}
    layout.figure(name, "png").unlink(missing_ok=True)
    if picture is not None:
        write_bytes(layout.figure(name, "png"), picture.png)
        metadata["picture"] = dg.MetadataValue.md(picture.inline)
    version = content_hash(layout.figure(name, "json"))
    key = dg.AssetKey([layout.study, name])
    return dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
