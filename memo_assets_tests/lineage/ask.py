"""The same question put to Dagster's own code, to the platform's, to its command line and to the web UI's GraphQL."""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCause
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._time import get_current_datetime
from dagster_graphql.test.utils import execute_dagster_graphql
from typer.testing import CliRunner

from memo_assets.assets.spec import SOURCE, asset_key
from memo_assets.cli import app
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.staleness import StaleStatuses
from memo_assets.status import partition_keys
from memo_assets.study import load_study

Partition = tuple[str, str | None]
Said = dict[Partition, tuple[str, frozenset[tuple[str, str | None, str]]]]
"""By asset and partition: status, and its root causes, each an asset, its partition and a reason."""

_LOCATION = """
from memo_assets.definitions import build_defs
from memo_assets.study import load_study

defs = build_defs([load_study({folder!r})])
"""
_CAUSE = "key { path } partitionKey reason"
_WHOLE = f"""
query($keys: [AssetKeyInput!]) {{ assetNodes(assetKeys: $keys) {{
  assetKey {{ path }} staleStatus staleCauses {{ {_CAUSE} }} }} }}
"""
_BY_PARTITION = f"""
query($keys: [AssetKeyInput!]) {{ assetNodes(assetKeys: $keys) {{
  assetKey {{ path }} partitionKeys staleStatusByPartition staleCausesByPartition {{ {_CAUSE} }}
  assetPartitionStatuses {{ ... on DefaultPartitionStatuses {{ failedPartitions }} }} }} }}
"""


def partitions_of(study: Study) -> list[Partition]:
    """All partitions of all steps."""
    return [(name, partition) for name in steps(study) for partition in partition_keys(study, name)]


def dagsters_own(
    study: Study, instance: dg.DagsterInstance, wanted: Iterable[Partition] | None = None
) -> Said:
    """What Dagster's resolver says, one look-up a partition."""
    graph = build_defs([study]).resolve_asset_graph()
    now = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
    view = AssetGraphView(temporal_context=now, instance=instance, asset_graph=graph)
    return _resolved(study, CachingStaleStatusResolver(instance, graph, view), wanted)


def ours(study: Study, instance: dg.DagsterInstance, wanted: Iterable[Partition] | None = None) -> Said:
    """What the platform reads of the same record, all partitions at once."""
    return _resolved(study, StaleStatuses.now(build_defs([study]), instance), wanted)


def _resolved(study: Study, resolver: CachingStaleStatusResolver, wanted: Iterable[Partition] | None) -> Said:
    said: Said = {}
    for name, partition in partitions_of(study) if wanted is None else wanted:
        key = asset_key(study, name)
        causes = resolver.get_stale_root_causes(key, partition)
        said[name, partition] = (resolver.get_status(key, partition).value, _causes(causes))
    return said


def _causes(causes: Iterable[StaleCause]) -> frozenset[tuple[str, str | None, str]]:
    return frozenset((cause.asset_key.path[-1], cause.partition_key, cause.reason) for cause in causes)


def web_ui(folder: Path, instance: dg.DagsterInstance) -> tuple[Said, dict[str, list[str]]]:
    """What GraphQL answers for the study in a folder, and failed partitions by asset."""
    study = load_study(folder)
    file = folder / f"location_{uuid.uuid4().hex}.py"  # a name of its own: Dagster keeps what it has loaded
    file.write_text(_LOCATION.format(folder=str(folder)))
    origin = LoadableTargetOrigin(python_file=str(file), working_directory=os.fspath(folder))
    said: Said = {}
    failed: dict[str, list[str]] = {}
    with in_process_test_workspace(instance, origin) as context:
        for query, partitioned in ((_WHOLE, False), (_BY_PARTITION, True)):
            names = [name for name in steps(study) if (partition_keys(study, name) != [None]) == partitioned]
            keys = [{"path": [study.name, name]} for name in names]
            answer = execute_dagster_graphql(context, query, variables={"keys": keys})
            nodes: list[dict[str, Any]] = answer.data["assetNodes"]
            assert len(nodes) == len(names)
            for node in nodes:
                name = node["assetKey"]["path"][-1]
                if not partitioned:
                    said[name, None] = (node["staleStatus"], _of_graphql(node["staleCauses"]))
                    continue
                statuses, causes = node["staleStatusByPartition"], node["staleCausesByPartition"]
                for partition, status, found in zip(node["partitionKeys"], statuses, causes, strict=True):
                    said[name, partition] = (status, _of_graphql(found))
                failed[name] = node["assetPartitionStatuses"]["failedPartitions"]
    return said, failed


def _of_graphql(causes: list[dict[str, Any]]) -> frozenset[tuple[str, str | None, str]]:
    return frozenset((cause["key"]["path"][-1], cause["partitionKey"], cause["reason"]) for cause in causes)


def command_line(folder: Path) -> dict[str, dict[str, Any]]:
    """What `memo status` says of the study in a folder, by asset; the source is left out."""
    result = CliRunner().invoke(app, ["status", str(folder), "--format", "json"])
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    return {asset["asset"]: asset for asset in record["assets"] if asset["asset"] != SOURCE}
