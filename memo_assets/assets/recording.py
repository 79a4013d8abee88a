"""Recording partitions one by one while a step over many of them runs.

Dagster itself records all partitions of a range when the step ends. A long step must record each as soon as it is
done, so that a crash or a failed neighbour does not lose it, and with its own data version, so that staleness
downstream is right. Dagster has no public way to do both; the three private names used here are covered by tests
and are the reason why pyproject.toml pins Dagster to one minor release.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data


def record_partition(
    context: dg.AssetExecutionContext,
    partition: str,
    *,
    data_version: str,
    metadata: Mapping[str, Any],
) -> None:
    """Record one partition of the running asset as materialized, now.

    Args:
        context: of the running asset.
        partition: the partition key.
        data_version: hash of the partition's content.
        metadata: shown in the web UI; numbers are plotted.
    """
    step = context.get_step_execution_context()
    key = context.asset_key
    code_version = context.assets_def.code_versions_by_key[key]
    assert code_version is not None
    tags = _build_data_version_tags(
        dg.DataVersion(data_version), code_version, _get_input_provenance_data(key, step), True
    )
    context.log_event(
        dg.AssetMaterialization(asset_key=key, partition=partition, metadata=dict(metadata), tags=tags)
    )


def all_recorded() -> dg.MaterializeResult:
    """Result of an asset that has recorded every partition itself: Dagster adds no event of its own."""
    return dg.MaterializeResult(metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
