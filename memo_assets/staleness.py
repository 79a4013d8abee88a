"""What Dagster's record says of an asset's partitions: stale and why, failed and in which run.

What belongs here: reading the record for all partitions of an asset at once. Dagster's own look-up asks for them one by
one, which takes a study with 1,000 models many thousands of queries; the answers are the same (the tests compare them
with Dagster's and with those of the web UI). What does not: words, files, what to do about it (`status`, `pipeline`).
"""

from collections.abc import Mapping, Sequence
from typing import Self

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    DataProvenance,
    DataVersion,
    extract_data_version_from_entry,
)
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._time import get_current_datetime
from dagster._utils.cached_method import cached_method

_DATA_VERSION = "dagster/data_version"
_PAGE = 1000  # records that Dagster gives at once


def latest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, after: int | None = None
) -> dict[str, dg.EventLogRecord]:
    """The last materialization of every partition of an asset, by partition key.

    Args:
        instance: with the record.
        key: an asset with partitions.
        after: number of an event, of which and before which none counts; None takes all.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, kind, after_cursor=after)
    ids = list(latest.values())
    pages = [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]
    records = [
        record
        for page in pages
        for record in instance.fetch_materializations(
            dg.AssetRecordsFilter(key, storage_ids=page), limit=_PAGE
        ).records
    ]
    return {record.partition_key: record for record in records if record.partition_key is not None}


class StaleStatuses(CachingStaleStatusResolver):
    """Dagster's own resolver: `get_status`, `get_stale_causes`, `get_stale_root_causes`.

    Args:
        view: the asset graph and the record of its materializations at one moment.
    """

    def __init__(self, view: AssetGraphView) -> None:
        super().__init__(view.instance, view.asset_graph, view)

    @classmethod
    def now(cls, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Self:
        """As of now.

        Args:
            definitions: that hold the assets.
            instance: with the record of their materializations.
        """
        moment = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
        graph = definitions.resolve_asset_graph()
        return cls(AssetGraphView(temporal_context=moment, instance=instance, asset_graph=graph))

    def prefetch(self, keys: Sequence[dg.AssetKey]) -> None:
        """Read the records of some assets, and of what they are made from, in one query.

        Args:
            keys: the assets.
        """
        above = {parent for key in keys for parent in self.asset_graph.get(key).parent_keys}
        self.instance_queryer.prefetch_asset_records({*keys, *above})

    def failed(self, key: dg.AssetKey) -> dict[str | None, str]:
        """Partitions whose last attempt failed after their last success, each with the id of that run.

        Args:
            key: an asset; one without partitions has the partition None.
        """
        partitions = self.asset_graph.get(key).partitions_def
        if partitions is None:
            run = self._failed_run(key)
            return {} if run is None else {None: run}
        keys = partitions.get_partition_keys()
        states = self._instance.get_status_by_partition(key, keys, partitions) or {}
        failed = [name for name in keys if states.get(name) == AssetPartitionStatus.FAILED]
        if not failed:
            return {}
        storage = self._instance.event_log_storage
        attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        return {name: attempts[name][0] for name in failed}

    def _failed_run(self, key: dg.AssetKey) -> str | None:
        planned = self._instance.get_latest_planned_materialization_info(key)
        if planned is None:
            return None
        made = self._get_latest_data_version_record(key=AssetKeyPartitionKey(key))
        if made is not None and made.storage_id > planned.storage_id:
            return None
        return planned.run_id if self._run_status(planned.run_id) == dg.DagsterRunStatus.FAILURE else None

    @cached_method
    def _run_status(self, run_id: str) -> dg.DagsterRunStatus | None:
        run = self._instance.get_run_by_id(run_id)
        return None if run is None else run.status

    def _get_latest_data_version_record(self, key: AssetKeyPartitionKey) -> dg.EventLogRecord | None:
        if key.partition_key is None:
            return super()._get_latest_data_version_record(key=key)
        return self._latest_records(key.asset_key).get(key.partition_key)

    def _is_dep_updated(self, provenance: DataProvenance, dep_key: AssetKeyPartitionKey) -> bool:
        if dep_key.partition_key is None:
            return super()._is_dep_updated(provenance, dep_key)
        seen = provenance.input_storage_ids[dep_key.asset_key]
        if seen is None:  # there was none yet, and Dagster then has nothing to compare with
            return False
        latest = self._latest_records(dep_key.asset_key).get(dep_key.partition_key)
        if latest is None or latest.storage_id <= seen:
            return False
        before = self._versions_before(dep_key.asset_key, seen + 1).get(dep_key.partition_key)
        return self._data_versions_differ(before, extract_data_version_from_entry(latest.event_log_entry))

    @cached_method
    def _latest_records(self, asset_key: dg.AssetKey) -> Mapping[str, dg.EventLogRecord]:
        """The last materialization of every partition."""
        return latest_materializations(self._instance, asset_key)

    @cached_method
    def _versions_before(self, asset_key: dg.AssetKey, storage_id: int) -> Mapping[str, DataVersion]:
        """The data version of every partition before an event; runs downstream share the event, so this is rarely asked."""
        tags = self._instance.event_log_storage.get_latest_tags_by_partition(
            asset_key,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            [_DATA_VERSION],
            before_cursor=storage_id,
        )
        return {partition: DataVersion(found[_DATA_VERSION]) for partition, found in tags.items()}
