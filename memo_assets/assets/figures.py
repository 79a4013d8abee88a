"""Figures of a study: computed together, since they share one browser start for the PNGs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from memo_assets.assets.pictures import write_figures
from memo_assets.assets.spec import asset_options
from memo_assets.config import Study
from memo_assets.store.layout import Layout
from memo_assets.study_figures import figures_of

if TYPE_CHECKING:
    import plotly.graph_objects as go


def build(study: Study) -> list[dg.AssetsDefinition]:
    """The figure assets, each of which can be materialized alone.

    Args:
        study: the study.
    """
    specs = [dg.AssetSpec(**asset_options(study, entry.name), skippable=True) for entry in figures_of(study)]

    @dg.multi_asset(
        name=f"{study.name}__figures", specs=specs, can_subset=True, required_resource_keys={"pictures"}
    )
    def figures(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from memo_assets.analysis.frames import Subject
        from memo_assets.store.tables import reading

        layout = Layout.of(study.name)
        wanted = [
            entry
            for entry in figures_of(study)
            if dg.AssetKey([study.name, entry.name]) in context.selected_asset_keys
        ]

        def drawn() -> Iterator[tuple[str, "go.Figure"]]:
            with reading() as connection:
                subject = Subject(connection, study, study.shadows.audited[0])
                for entry in wanted:
                    yield entry.name, entry.draw(subject)

        yield from write_figures(context, layout, drawn())

    return [figures]
