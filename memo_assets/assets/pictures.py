"""Writing figures of one run: data, page and picture, with the picture in the web UI."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from memo_assets.store.layout import Layout

INLINE_WIDTH = 1000

if TYPE_CHECKING:
    import plotly.graph_objects as go


def write_figures(
    context: dg.AssetExecutionContext, layout: Layout, drawn: Mapping[str, "go.Figure"]
) -> Iterator[dg.MaterializeResult]:
    """Write figures as JSON, HTML and PNG, the browser started once; without a browser, a warning and no PNG.

    Args:
        context: of the run.
        layout: whose figures they are; its `study` is the key prefix of the assets.
        drawn: figures by asset name.

    Yields:
        The result of each figure; its data version is the hash of the figure.
    """
    from memo_assets.figures.render import BrowserMissing, figure_html, png_bytes
    from memo_assets.figures.theme import fit_title
    from memo_assets.store.files import content_hash, write_bytes, write_text

    for figure in drawn.values():
        fit_title(figure)
    pictures: dict[str, bytes] = {}
    try:
        pictures = dict(zip(drawn, png_bytes(list(drawn.values())), strict=True))
    except BrowserMissing as error:
        context.log.warning(f"no PNG pictures, HTML only: {error}")
    for name, figure in drawn.items():
        write_text(layout.figure(name, "json"), str(figure.to_json()))
        write_text(layout.figure(name, "html"), figure_html(figure))
        metadata: dict = {"page": dg.MetadataValue.path(layout.figure(name, "html"))}
        layout.figure(name, "png").unlink(missing_ok=True)
        if name in pictures:
            write_bytes(layout.figure(name, "png"), pictures[name])
            metadata["picture"] = dg.MetadataValue.md(_inline(pictures[name], name))
        version = content_hash(layout.figure(name, "json"))
        key = dg.AssetKey([layout.study, name])
        yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))


def _inline(png: bytes, name: str) -> str:
    """Markdown that shows a picture at the size of the web UI's dialog."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    picture.thumbnail((INLINE_WIDTH, INLINE_WIDTH), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    picture.save(small, "PNG")
    return f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})"
