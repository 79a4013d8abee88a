"""What of a study needs work at one moment, what failed, what is in progress.

What belongs here: questions to Dagster's record, asked once a moment, with subsets of partitions as answers. What does
not: when work is asked for (`conditions`), and Dagster's words for why something is stale (`status`).
"""

from collections.abc import Set as AbstractSet
from typing import get_args

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.data_version import StaleStatus

from memo_assets.assets.check_records import Fault, faults_above
from memo_assets.assets.spec import asset_key
from memo_assets.config import GpuStep, Study
from memo_assets.graph import Step, steps
from memo_assets.staleness import StaleStatuses
from memo_assets.status import output, partition_keys
from memo_assets.store.layout import Layout

Subset = EntitySubset[dg.AssetKey]
GPU_STEPS: tuple[str, ...] = get_args(GpuStep)
# The GPU-bound assets that have a partition per split seed.
BY_SEED = ("adapters", "logits", "layer_scores", "answer_variation")


class Situation:
    """A study as Dagster's record and the files show it at one moment; every question is asked once.

    Args:
        study: the study.
        view: Dagster's view of the asset graph at that moment.
        earlier: the same of an earlier moment; what it found out about the record holds if nothing was recorded since.
    """

    def __init__(self, study: Study, view: AssetGraphView, earlier: "Situation | None" = None) -> None:
        self.study = study
        self.view = view
        self.steps: dict[str, Step] = steps(study)
        self._statuses = StaleStatuses(view)
        self._layout = Layout.of(study.name)
        self.outdated: dict[str, set[str | None]] = {}  # by asset, in Dagster's eyes
        if earlier is not None and view.last_event_id == earlier.view.last_event_id is not None:
            self.outdated = earlier.outdated
        self._needs: dict[str, Subset] = {}
        self._busy: dict[str, Subset] = {}
        self._faults: dict[str, list[Fault]] = {}

    def key(self, name: str) -> dg.AssetKey:
        """Key of an asset of the study."""
        return asset_key(self.study, name)

    def subset(self, name: str, partitions: AbstractSet[str | None]) -> Subset:
        """Partitions of an asset; of one without partitions, all of it for {None}, nothing for the empty set."""
        full = self.view.get_full_subset(key=self.key(name))
        if not full.is_partitioned:
            return full if partitions else self.view.get_empty_subset(key=self.key(name))
        known = {key for key in partition_keys(self.study, name) if key in partitions and key is not None}
        return full.compute_intersection_with_partition_keys(known)

    def down(self, name: str, subset: Subset) -> Subset:
        """Partitions of an asset that need any of these partitions of an asset above it."""
        return self.view.compute_child_subset(self.key(name), subset)

    def up(self, name: str, subset: Subset) -> Subset:
        """Partitions of an asset that any of these partitions of an asset below it need."""
        return self.view.compute_parent_subset(self.key(name), subset)

    def below(self, name: str) -> list[str]:
        """Assets that read an asset."""
        return [other for other, step in self.steps.items() if name in step.upstream]

    async def needs(self, name: str) -> Subset:
        """What needs work: missing or stale by Dagster's record, failed in its latest run, or its file is gone."""
        if name not in self._needs:
            keys = partition_keys(self.study, name)
            gone = {key for key in keys if not output(self._layout, name, key).exists()}
            wanted = self.subset(name, gone | self._find_outdated(name))
            self._needs[name] = wanted.compute_union(await self.failed(name))
        return self._needs[name]

    async def failed(self, name: str) -> Subset:
        """What failed in its latest run, whatever earlier ones left."""
        full = self.view.get_full_subset(key=self.key(name))
        return await self.view.compute_execution_failed_subset(key=full.key, from_subset=full)

    async def busy(self, name: str) -> Subset:
        """What a run or a backfill has in hand and has not made yet."""
        if name not in self._busy:
            full = self.view.get_full_subset(key=self.key(name))
            runs = await self.view.compute_run_in_progress_subset(key=full.key, from_subset=full)
            backfills = await self.view.compute_backfill_in_progress_subset(key=full.key, from_subset=full)
            self._busy[name] = runs.compute_union(backfills)
        return self._busy[name]

    def distrusted(self, name: str, *, but: AbstractSet[str] = frozenset()) -> Subset:
        """What of an asset would be built on something that a blocking check found broken when it last ran.

        Args:
            name: a GPU-bound asset.
            but: assets above it whose checks do not count, since they are made again first.
        """
        full = self.view.get_full_subset(key=self.key(name))
        seeds: set[str | None] = set()
        if name not in self._faults:
            self._faults[name] = faults_above(self.view.instance, self.study, name)
        for fault in self._faults[name]:
            if fault.asset not in but:
                if fault.seeds is None or not full.is_partitioned:
                    return full
                seeds |= {str(seed) for seed in fault.seeds}
        return self.subset(name, seeds)

    async def seeds_for_a_night(self, most: int | None) -> set[str | None]:
        """The split seeds whose GPU-bound assets are to be redone: needing work, not in progress.

        Those that failed, or build on what a check found broken, come last, so that they do not keep the others waiting.

        Args:
            most: how many at most; None: all.
        """
        wanted: set[str] = set()
        failed: set[str] = set()
        busy: set[str] = set()
        for name in (name for name in BY_SEED if name in self.steps):
            wanted |= _keys(await self.needs(name))
            failed |= _keys((await self.failed(name)).compute_union(self.distrusted(name)))
            busy |= _keys(await self.busy(name))
        seeds = sorted(wanted - busy, key=lambda seed: (seed in failed, int(seed)))
        return set(seeds[:most])

    async def not_fresh(self) -> dict[str, Subset]:
        """By asset, upstream first: what needs work, and of the assets that need no GPU also what lies below that."""
        found: dict[str, Subset] = {}
        for name, step in self.steps.items():
            subset = await self.needs(name)
            if name not in GPU_STEPS:
                for upstream in step.upstream:
                    if upstream in found:
                        subset = subset.compute_union(self.down(name, found[upstream]))
            if not subset.is_empty:
                found[name] = subset
        return found

    def _find_outdated(self, name: str) -> set[str | None]:
        """What is missing or stale in Dagster's eyes; not asked again before something is recorded."""
        if name not in self.outdated:
            self.outdated[name] = {
                key
                for key in partition_keys(self.study, name)
                if self._statuses.get_status(self.key(name), key) != StaleStatus.FRESH
            }
        return self.outdated[name]


def keys_of(subset: Subset) -> set[str | None]:
    """Partition keys of a subset; {None} for an asset without partitions."""
    if subset.is_partitioned:
        return set(subset.expensively_compute_partition_keys())
    return set() if subset.is_empty else {None}


def _keys(subset: Subset) -> set[str]:
    return set(subset.expensively_compute_partition_keys())
