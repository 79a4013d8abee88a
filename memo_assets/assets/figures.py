"""Figures of a study: computed together, since they share one browser start for the PNGs."""

import base64
import io
from collections.abc import Iterator

import dagster as dg

from memo_assets.assets.spec import asset_options
from memo_assets.config import Study
from memo_assets.store.layout import Layout
from memo_assets.study_figures import STUDY_FIGURES

INLINE_WIDTH = 1000


def build(study: Study) -> list[dg.AssetsDefinition]:
    """The figure assets, each of which can be materialized alone.

    Args:
        study: the study.
    """
    specs = [dg.AssetSpec(**asset_options(study, entry.name), skippable=True) for entry in STUDY_FIGURES]

    @dg.multi_asset(name=f"{study.name}__figures", specs=specs, can_subset=True)
    def figures(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from memo_assets.analysis.frames import Subject
        from memo_assets.figures.render import BrowserMissing, figure_html, png_bytes
        from memo_assets.store.files import content_hash, write_bytes, write_text
        from memo_assets.store.tables import reading

        layout = Layout.of(study.name)
        wanted = [
            entry
            for entry in STUDY_FIGURES
            if dg.AssetKey([study.name, entry.name]) in context.selected_asset_keys
        ]
        with reading() as connection:
            subject = Subject(connection, study, study.shadows.audited[0])
            drawn = {entry.name: entry.draw(subject) for entry in wanted}
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
            key = dg.AssetKey([study.name, name])
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))

    return [figures]


def _inline(png: bytes, name: str) -> str:
    """Markdown that shows a picture at the size of the web UI's dialog."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    picture.thumbnail((INLINE_WIDTH, INLINE_WIDTH), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    picture.save(small, "PNG")
    return f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})"
