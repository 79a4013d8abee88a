"""What of a study is fresh, stale, missing or failed: Dagster's own record, and whether the files are there.

What belongs here: one state and its causes for every partition; what fills tables is there only if its rows are in the
warehouse. What does not: how the record is read (`staleness`), how states are shown (`console_status`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import StaleCause, StaleStatus

from memo_assets.assets.spec import SOURCE, asset_key, blocks
from memo_assets.compute.items import seeds_in_words
from memo_assets.config import Study
from memo_assets.failures import run_failure
from memo_assets.graph import steps
from memo_assets.staleness import StaleStatuses
from memo_assets.store.layout import Layout, database_path
from memo_assets.store.schema import tables_of

FRESH, STALE, MISSING, FAILED = STATES = ("fresh", "stale", "missing", "failed")
NEVER = "never materialized"


@dataclass(frozen=True)
class Cause:
    """Why a partition is not fresh.

    Attributes:
        words: such as `logits has a new data version`.
        partitions: of the asset that the words name, where they are others than the partition itself.
    """

    words: str
    partitions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The words, with the partitions in brackets."""
        return f"{self.words} ({partitions_in_words(self.partitions)})" if self.partitions else self.words


@dataclass(frozen=True)
class PartitionState:
    """State of one partition, or of a whole asset without partitions (partition None).

    Attributes:
        partition: partition key.
        state: fresh, stale, missing or failed (the last attempt to make it failed, whatever is left of earlier ones).
        causes: why it is not fresh.
    """

    partition: str | None
    state: str
    causes: tuple[Cause, ...] = ()

    @property
    def cause(self) -> str:
        """Why it is not fresh, in words."""
        return "; ".join(map(str, self.causes))


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


class Record:
    """Dagster's record as of now, from which the states of any number of studies are read.

    Args:
        definitions: that hold the studies' assets.
        instance: with the record of their materializations.
    """

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._statuses = StaleStatuses.now(definitions, instance)
        self._failure = cache(lambda run_id: run_failure(instance, run_id))
        self._loads = cache(_loads)

    def states(self, study: Study, names: Sequence[str] | None = None) -> list[AssetState]:
        """State of the assets of a study, upstream first.

        Dagster looks one step up: an asset below a stale one is stale only once that one has changed.

        Args:
            study: the study.
            names: assets to look at; all by default.

        Raises:
            WarehouseError: the database is there but cannot be read.
        """
        layout, states, wanted = Layout.of(study.name), [], names or list(steps(study))
        self._statuses.prefetch([asset_key(study, name) for name in wanted])
        for name in wanted:
            failed = self._statuses.failed(asset_key(study, name))
            parts = [self._state(study, layout, name, key, failed) for key in partition_keys(study, name)]
            states.append(AssetState(name, tuple(parts)))
        return states

    def _state(
        self,
        study: Study,
        layout: Layout,
        name: str,
        partition: str | None,
        failed: dict[str | None, str],
    ) -> PartitionState:
        if run := failed.get(partition):
            return PartitionState(
                partition, FAILED, (Cause(f"run {run.partition('-')[0]} failed: {self._failure(run)}"),)
            )
        key = asset_key(study, name)
        status = self._statuses.get_status(key, partition)
        if status == StaleStatus.MISSING:
            return PartitionState(partition, MISSING, (Cause(NEVER),))
        file = output(layout, name, partition)
        if not file.exists():
            path = str(file).replace(f"seed={partition}", "seed=*")
            return PartitionState(partition, MISSING, (Cause(f"{path} is gone"),))
        if not self._rows_there(study, name, partition):
            return PartitionState(partition, MISSING, (Cause(f"its rows are not in {database_path()}"),))
        if status == StaleStatus.FRESH:
            return PartitionState(partition, FRESH)
        return PartitionState(
            partition, STALE, _in_words(study, name, partition, self._statuses.get_stale_root_causes(key, partition))
        )  # fmt: skip

    def _rows_there(self, study: Study, name: str, partition: str | None) -> bool:
        """Whether the warehouse says of every table that an asset fills that its rows were loaded."""
        tables = tables_of(name)
        if not tables:
            return True
        loads = self._loads(study.name)
        return loads is None or all((table, partition) in loads for table in tables)


def study_state(
    study: Study, definitions: dg.Definitions, instance: dg.DagsterInstance, names: list[str] | None = None
) -> list[AssetState]:
    """State of the assets of a study as of now, upstream first; see `Record.states`.

    Args:
        study: the study.
        definitions: that hold the study's assets.
        instance: with the record of their materializations.
        names: assets to look at; all by default.
    """
    return Record(definitions, instance).states(study, names)


def _loads(study: str) -> frozenset[tuple[str, str | None]] | None:
    """Tables and blocks that the warehouse holds of a study; None if it is of a version that did not say."""
    from memo_assets.store.provenance import loads_of
    from memo_assets.store.tables import reading

    if not database_path().is_file():
        return frozenset()
    with reading() as connection:
        return loads_of(connection, study)


def source_state(unseen: str) -> AssetState:
    """State of a study's source: there as it was observed last, or missing.

    Args:
        unseen: why it cannot be seen; empty if it was.
    """
    return AssetState(
        SOURCE,
        (PartitionState(None, MISSING, (Cause(unseen),)) if unseen else PartitionState(None, FRESH),),
    )


def output(layout: Layout, name: str, partition: str | None) -> Path:
    """File or folder that an asset leaves for a partition; of blocks and assets without partitions, the one of all.

    Args:
        layout: of the study.
        name: the asset.
        partition: its partition key.
    """
    return layout.output(name, int(partition) if partition is not None and partition.isdecimal() else None)


def partition_keys(study: Study, name: str) -> list[str] | list[None]:
    """Partition keys of an asset, or [None]."""
    if name in ("split_masks", "adapters", "logits"):
        return [str(seed) for seed in study.seeds]
    if name in ("layer_scores", "answer_variation"):
        return [str(seed) for seed in study.shadows.audited]
    return list(blocks(study)) if name == "shadow_logits" else [None]


def partitions_in_words(partitions: Sequence[str]) -> str:
    """Such as `seeds 0 to 7 (8)`, `block 000-024` or `blocks 000-024, 025-049 and 2 more`."""
    if all(partition.isdecimal() for partition in partitions):
        return seeds_in_words(sorted(map(int, partitions)))
    if len(partitions) == 1:
        return f"block {partitions[0]}"
    more = f" and {len(partitions) - 2} more" if len(partitions) > 2 else ""
    return f"blocks {', '.join(partitions[:2])}{more}"


def _in_words(
    study: Study, name: str, partition: str | None, causes: Sequence[StaleCause]
) -> tuple[Cause, ...]:
    """Dagster's causes, those of one upstream asset together."""
    found: dict[str, list[str]] = {}
    for cause in causes:
        own = cause.asset_key == asset_key(study, name)
        words = cause.reason if own else f"{_name(study, cause.asset_key)} {cause.reason}"
        others = found.setdefault(words, [])
        if not own and cause.partition_key is not None and cause.partition_key != partition:
            others.append(cause.partition_key)
    return tuple(Cause(words, tuple(others)) for words, others in found.items())


def _name(study: Study, key: dg.AssetKey) -> str:
    return key.path[-1] if key.path[0] == study.name else key.to_user_string()
