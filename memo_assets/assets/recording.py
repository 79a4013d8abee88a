"""Recording partitions one by one while a step over many of them runs.

Dagster itself records all partitions of a range when the step ends. A long step must record each as soon as it is
done, so that a crash or a failed neighbour does not lose it, and with its own data version, so that staleness
downstream is right. Dagster has no public way to do both; the three private names used here are covered by tests
and are the reason why pyproject.toml pins Dagster to one minor release.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data

if TYPE_CHECKING:
    from memo_assets.store.provenance import Provenance


def provenance(context: dg.AssetExecutionContext, data_version: str) -> "Provenance":
    """What makes the running asset's data: the versions that its event will bear, before there is an event.

    Args:
        context: of the running asset.
        data_version: hash of the content of its data, or of one partition of it.
    """
    from memo_assets.store.provenance import Provenance

    key = context.asset_key
    inputs = _get_input_provenance_data(key, context.get_step_execution_context())
    return Provenance(
        asset=key.path[-1],
        run_id=context.run.run_id,
        code_version=_code_version(context),
        data_version=data_version,
        input_versions={upstream.path[-1]: found["data_version"].value for upstream, found in inputs.items()},
    )


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
    inputs = _get_input_provenance_data(key, step)
    tags = _build_data_version_tags(dg.DataVersion(data_version), _code_version(context), inputs, True)
    context.log_event(
        dg.AssetMaterialization(asset_key=key, partition=partition, metadata=dict(metadata), tags=tags)
    )


def all_recorded() -> dg.MaterializeResult:
    """Result of an asset that has recorded every partition itself: Dagster adds no event of its own."""
    return dg.MaterializeResult(metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def _code_version(context: dg.AssetExecutionContext) -> str:
    version = context.assets_def.code_versions_by_key[context.asset_key]
    assert version is not None
    return version
