"""The job `STUDY__everything`: one backfill of all that is not fresh, started from the launchpad.

An asset job cannot do that: Dagster allows one partitions definition a job, and a study has seeds, audited seeds and
blocks of seeds. So the job has one op, which requests a backfill as the web UI does when partitions are selected there.
"""

import asyncio
from collections.abc import Sequence

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id
from dagster._time import get_current_datetime

from memo_assets.automation.situation import Situation
from memo_assets.config import Study


def everything_job(study: Study, assets: Sequence[dg.AssetsDefinition]) -> dg.JobDefinition:
    """The job of a study.

    Args:
        study: the study.
        assets: its assets.
    """
    description = (
        f"Requests one backfill of all that is missing, stale or failed in the study {study.name}, and of what lies below. "
        "See it under Runs, Backfills."
    )

    @dg.op(name=f"{study.name}__request_backfill", description=description)
    def request(context: dg.OpExecutionContext) -> None:
        graph = AssetGraph.from_assets(assets)
        now = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
        view = AssetGraphView(temporal_context=now, instance=context.instance, asset_graph=graph)
        subset = asyncio.run(_wanted(Situation(study, view)))
        if subset.is_empty:
            context.log.info(f"study {study.name}: everything is fresh, nothing to do")
            return
        backfill = make_new_backfill_id()
        context.instance.add_backfill(
            PartitionBackfill.from_asset_graph_subset(
                backfill_id=backfill,
                backfill_timestamp=now.effective_dt.timestamp(),
                tags={"study": study.name},
                dynamic_partitions_store=context.instance,
                asset_graph_subset=subset,
                title=f"everything of {study.name}",
                description=None,
                run_config=None,
            )
        )
        context.log.info(
            f"study {study.name}: backfill {backfill} of {len(subset.asset_keys)} assets, "
            f"{subset.num_partitions_and_non_partitioned_assets} partitions in all; a daemon carries it out"
        )

    @dg.job(name=f"{study.name}__everything", description=description, tags={"study": study.name})
    def everything() -> None:
        request()

    return everything


async def _wanted(situation: Situation) -> AssetGraphSubset:
    """What is not fresh.

    Raises:
        dagster.Failure: something of the study is in progress, so that its seeds might be computed twice.
    """
    busy = [name for name in situation.steps if not (await situation.busy(name)).is_empty]
    if busy:
        raise dg.Failure(
            f"study {situation.study.name}: {', '.join(busy)} in progress: wait for the runs and backfills of the study, or "
            "cancel them, and launch again"
        )
    return AssetGraphSubset.from_entity_subsets((await situation.not_fresh()).values())
