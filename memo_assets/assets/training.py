"""The GPU-bound assets: base model, adapters, logits and layer scores, sent to worker processes."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import dagster as dg

from memo_assets.assets.check_records import require_passed
from memo_assets.assets.recording import all_recorded, record_partition
from memo_assets.assets.spec import study_asset
from memo_assets.assets.watching import RunLog
from memo_assets.compute.choice import chosen_kind
from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.items import ItemResult, WorkItem, packs
from memo_assets.compute.ledger import Ledger, RunName
from memo_assets.compute.outcomes import Outcome
from memo_assets.compute.source import source_version
from memo_assets.config import GpuStep, Study
from memo_assets.graph import code_versions
from memo_assets.instance import process_tag
from memo_assets.store.files import content_hash
from memo_assets.store.layout import Layout

_SECONDS_BEFORE_RETRY = 10


def _pool() -> str | None:
    """One GPU step at a time on this machine; on a cluster Slurm has the queue, and a run only watches."""
    return "gpu" if chosen_kind() == "local" else None


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `base_model` (language studies), `adapters`, `logits` and `layer_scores`.

    Args:
        study: the study.
    """
    source_version()  # as it is now that this process loads it, whatever is edited before a step runs
    built = [_partitioned(study, step) for step in ("adapters", "logits", "layer_scores")]
    return [_base_model(study), *built] if study.is_language else built


def _base_model(study: Study) -> dg.AssetsDefinition:
    @study_asset(study, "base_model", pool=_pool(), required_resource_keys={"executor", "observer"})
    def base_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        ledger = Ledger(Layout.of(study.name), "base_model")
        with closing(_outcomes(context, [work_item(study, "base_model", [])], ledger)) as outcomes:
            (outcome,) = outcomes
        if outcome.result.error:
            raise _failure(study, "base_model", [outcome])
        (result,) = outcome.result.seeds.values()
        metadata = {**result.facts, **_cost(outcome.result, 1)}
        ledger.mark(outcome.item, "recorded", _run_name(context))
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(result.data_version))

    return base_model


def _partitioned(study: Study, step: GpuStep) -> dg.AssetsDefinition:
    @study_asset(study, step, pool=_pool(), required_resource_keys={"executor", "observer"})
    def partitioned(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        seeds = [int(partition) for partition in context.partition_keys]
        require_passed(context.instance, study, step, seeds)
        hash_of = cache(content_hash)  # samples and base model are the same for all items
        items = [work_item(study, step, pack, hash_of) for pack in packs(study, seeds)]
        ledger = Ledger(Layout.of(study.name), step)
        failed = []
        with closing(_outcomes(context, items, ledger)) as outcomes:
            for outcome in outcomes:
                if outcome.result.error:
                    failed.append(outcome)
                    context.log.error(f"{outcome.item} failed: {outcome.result.error}")
                    continue
                for seed in outcome.wanted:
                    result = outcome.result.seeds[seed]
                    metadata = {**result.facts, **_cost(outcome.result, len(outcome.result.seeds))}
                    record_partition(context, str(seed), data_version=result.data_version, metadata=metadata)
                    ledger.mark(outcome.item, "recorded", _run_name(context), units=[seed])
        if failed:
            raise _failure(study, step, failed)
        return all_recorded()

    return partitioned


def work_item(
    study: Study, step: GpuStep, seeds: list[int], hash_of: Callable[[Path], str] = content_hash
) -> WorkItem:
    """The work item of some seeds, over the files that are there now.

    Args:
        study: the study.
        step: the asset.
        seeds: its split seeds; none for a step without partitions.
        hash_of: content hash of a file or folder.

    Raises:
        dagster.Failure: files of an upstream asset are missing; the message names the first.
    """
    layout = Layout.of(study.name)
    inputs = _inputs(layout, study, step, seeds)
    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise dg.Failure(
            f"{study.name}/{step} needs {len(missing)} files that are not there, first {missing[0]}: materialize "
            f"the assets upstream of {step} for the same seeds first"
        )
    return WorkItem(
        study=study,
        step=step,
        seeds=seeds,
        code_version=code_versions(study)[step],
        source=source_version(),
        inputs={str(path.relative_to(layout.root)): hash_of(path) for path in inputs},
        warehouse=layout.warehouse,
    )


def _inputs(layout: Layout, study: Study, step: GpuStep, seeds: list[int]) -> list[Path]:
    if step == "base_model":
        return [layout.background] if study.model.kind == "tiny_llama" else []
    paths = [layout.samples, *([layout.base_model] if study.is_language else [])]
    if step != "adapters":
        paths += [layout.adapters(seed) for seed in seeds]
    elif study.protection is not None and study.protection.at_risk is not None:
        paths.append(layout.protected)
    return paths + [layout.split_mask(seed) for seed in seeds]


def _outcomes(context: dg.AssetExecutionContext, items: list[WorkItem], ledger: Ledger) -> Generator[Outcome]:
    """Send items to the executor; what they log and how far they are goes to the run's log."""
    watcher = RunLog(context.log, context.resources.observer)
    context.instance.add_run_tags(context.run.run_id, process_tag())
    dispatch = Dispatch(context.resources.executor, ledger, _run_name(context), watcher)
    try:
        with closing(dispatch.outcomes(items)) as outcomes:
            for outcome in outcomes:
                result = outcome.result
                where = f" as Slurm job {result.job}" if result.job else ""
                state = "failed" if result.error else "done"
                log = f", log {outcome.log}" if outcome.log else ""
                context.log.info(f"{outcome.item}: {state} after {result.seconds:.1f} s{where}{log}")
                yield outcome
    except ExecutorError as error:
        raise dg.Failure(str(error)) from error


def _run_name(context: dg.AssetExecutionContext) -> RunName:
    return RunName(id=context.run.run_id, root=context.run.root_run_id or context.run.run_id)


def _cost(result: ItemResult, shared_by: int) -> dict[str, float | str | int]:
    """What one seed cost: its share of the task's wall time and GPU time, and where it ran.

    The web UI draws every number over the seeds, so what tells nothing is left out: GPU time where there is no GPU, one
    attempt where nothing was interrupted.
    """
    cost: dict[str, float | str | int] = {
        "seconds": round(result.seconds / shared_by, 3),
        "worker_seconds": result.seconds,
        "peak_memory_mb": round(result.peak_memory_bytes / 1e6, 1),
        "node": result.host,
    }
    if result.gpus:
        cost["gpu_seconds"] = round(result.seconds * result.gpus / shared_by, 3)
    if result.attempts > 1:
        cost["attempts"] = result.attempts
    return {**cost, "slurm_job": result.job} if result.job else cost


def _failure(study: Study, step: str, failed: Sequence[Outcome]) -> dg.Failure | dg.RetryRequested:
    """What to raise: the step is tried again, once, if a worker was lost; whatever has a reason of its own would fail again.

    Not by a retry policy of Dagster, which also tries again what somebody cancels.
    """
    lines = [f"{outcome.item}: {outcome.result.error}{_log_end(outcome)}" for outcome in failed]
    seeds = [seed for outcome in failed if outcome.item.seeds for seed in outcome.wanted]
    named = f" for seeds {seeds}" if seeds else ""
    failure = dg.Failure(f"{study.name}/{step} failed{named}\n" + "\n".join(lines))
    if not any(outcome.result.lost for outcome in failed):
        return failure
    again = dg.RetryRequested(max_retries=1, seconds_to_wait=_SECONDS_BEFORE_RETRY)
    again.__cause__ = failure
    return again


def _log_end(outcome: Outcome) -> str:
    return f"\n--- end of {outcome.log}\n{outcome.log_end}" if outcome.log_end else ""
