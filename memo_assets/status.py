"""What of a study is fresh, stale, missing: Dagster's own staleness, and whether the files are there."""

from collections import Counter
from dataclasses import dataclass

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._time import get_current_datetime

from memo_assets.assets.spec import asset_key, blocks
from memo_assets.config import Study
from memo_assets.graph import steps
from memo_assets.store.layout import Layout

FRESH, STALE, MISSING = "fresh", "stale", "missing"


@dataclass(frozen=True)
class PartitionState:
    """State of one partition, or of a whole asset without partitions (partition None).

    Attributes:
        partition: partition key.
        state: fresh, stale or missing.
        cause: why it is not fresh, in words.
    """

    partition: str | None
    state: str
    cause: str = ""


@dataclass(frozen=True)
class AssetState:
    """State of all partitions of one asset of a study."""

    name: str
    partitions: tuple[PartitionState, ...]

    @property
    def counts(self) -> Counter[str]:
        """Number of partitions by state."""
        return Counter(part.state for part in self.partitions)

    @property
    def todo(self) -> list[PartitionState]:
        """Partitions that are not fresh."""
        return [part for part in self.partitions if part.state != FRESH]


def study_state(
    study: Study, definitions: dg.Definitions, instance: dg.DagsterInstance, names: list[str] | None = None
) -> list[AssetState]:
    """State of the assets of a study, upstream first.

    Dagster looks one step up: an asset below a stale one is stale only once that one has changed.

    Args:
        study: the study.
        definitions: that hold the study's assets.
        instance: with the record of their materializations.
        names: assets to look at; all by default.
    """
    resolver = stale_statuses(definitions, instance)
    layout = Layout.of(study.name)
    states = []
    for name in names or list(steps(study)):
        keys = partition_keys(study, name)
        states.append(AssetState(name, tuple(_state(resolver, study, layout, name, key) for key in keys)))
    return states


def stale_statuses(definitions: dg.Definitions, instance: dg.DagsterInstance) -> CachingStaleStatusResolver:
    """What Dagster, and so the web UI, says of each asset as of now: `get_status` and `get_stale_causes`.

    Args:
        definitions: that hold the assets.
        instance: with the record of their materializations.
    """
    graph = definitions.resolve_asset_graph()
    now = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
    view = AssetGraphView(temporal_context=now, instance=instance, asset_graph=graph)
    return CachingStaleStatusResolver(instance, graph, view)


def partition_keys(study: Study, name: str) -> list[str] | list[None]:
    """Partition keys of an asset, or [None]."""
    if name in ("split_masks", "adapters", "logits"):
        return [str(seed) for seed in study.seeds]
    if name == "layer_scores":
        return [str(seed) for seed in study.shadows.audited]
    return list(blocks(study)) if name == "shadow_logits" else [None]


def _state(
    resolver: CachingStaleStatusResolver, study: Study, layout: Layout, name: str, partition: str | None
) -> PartitionState:
    key = asset_key(study, name)
    status = resolver.get_status(key, partition)
    if status == StaleStatus.MISSING:
        return PartitionState(partition, MISSING, "never materialized")
    seed = int(partition) if partition is not None and partition.isdecimal() else None
    file = layout.output(name, seed)
    if not file.exists():
        return PartitionState(partition, MISSING, f"{file} is gone")
    if status == StaleStatus.FRESH:
        return PartitionState(partition, FRESH)
    causes = resolver.get_stale_causes(key, partition)
    words = "; ".join(
        f"{cause.reason} ({cause.dependency.asset_key.path[-1]})" if cause.dependency else cause.reason
        for cause in causes
    )
    return PartitionState(partition, STALE, words)
