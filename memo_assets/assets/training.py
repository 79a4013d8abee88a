"""The GPU-bound assets: base model, adapters, logits and layer scores, sent to worker processes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import dagster as dg

from memo_assets.assets.recording import all_recorded, record_partition
from memo_assets.assets.spec import study_asset
from memo_assets.compute.items import ItemResult, Progress, WorkerStep, WorkItem
from memo_assets.compute.local import Outcome
from memo_assets.config import Study
from memo_assets.graph import code_versions
from memo_assets.store.layout import Layout

POOL = "gpu"


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `base_model` (language studies), `adapters`, `logits` and `layer_scores`.

    Args:
        study: the study.
    """
    built = [_partitioned(study, step) for step in ("adapters", "logits", "layer_scores")]
    return [_base_model(study), *built] if study.is_language else built


def _base_model(study: Study) -> dg.AssetsDefinition:
    @study_asset(study, "base_model", pool=POOL, required_resource_keys={"executor", "observer"})
    def base_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        (outcome,) = _run(context, [_item(study, "base_model", [])])
        if outcome.result.error:
            raise _failure(study, "base_model", [outcome])
        (result,) = outcome.result.seeds.values()
        metadata = {**result.facts, **_cost(outcome.result, 1)}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(result.data_version))

    return base_model


def _partitioned(study: Study, step: WorkerStep) -> dg.AssetsDefinition:
    @study_asset(study, step, pool=POOL, required_resource_keys={"executor", "observer"})
    def partitioned(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        seeds = [int(partition) for partition in context.partition_keys]
        failed = []
        for outcome in _run(context, _packs(study, step, seeds)):
            if outcome.result.error:
                failed.append(outcome)
                context.log.error(f"seeds {outcome.item.seeds} failed: {outcome.result.error}")
                continue
            for seed, result in outcome.result.seeds.items():
                metadata = {**result.facts, **_cost(outcome.result, len(outcome.item.seeds))}
                record_partition(context, str(seed), data_version=result.data_version, metadata=metadata)
        if failed:
            raise _failure(study, step, failed)
        return all_recorded()

    return partitioned


def _packs(study: Study, step: WorkerStep, seeds: Sequence[int]) -> list[WorkItem]:
    """One work item per pack; packs lie on a fixed grid of seeds, so that a redo packs the same seeds together."""
    groups = groupby(sorted(seeds), key=lambda seed: seed // study.compute.pack)
    return [_item(study, step, list(group)) for _, group in groups]


def _item(study: Study, step: WorkerStep, seeds: list[int]) -> WorkItem:
    from memo_assets.store.files import content_hash

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
        inputs={str(path.relative_to(layout.root)): content_hash(path) for path in inputs},
        warehouse=layout.warehouse,
    )


def _inputs(layout: Layout, study: Study, step: WorkerStep, seeds: list[int]) -> list[Path]:
    if step == "base_model":
        return [layout.background] if study.model.kind == "tiny_llama" else []
    paths = [layout.samples, *([layout.base_model] if study.is_language else [])]
    if step != "adapters":
        paths += [layout.adapters(seed) for seed in seeds]
    return paths + [layout.split_mask(seed) for seed in seeds]


def _run(context: dg.AssetExecutionContext, items: list[WorkItem]) -> Iterator[Outcome]:
    """Send items to the executor and log how far they are, at most every ten percent of each."""
    tenths: dict[str, int] = {}

    def on_progress(item: WorkItem, progress: Progress) -> None:
        tenth = 10 * progress.done // max(progress.total, 1)
        if tenth > tenths.get(item.key, 0):
            tenths[item.key] = tenth
            context.log.info(f"{_seeds(item)}: {progress.done} of {progress.total} {progress.unit}")
        observer.on_progress(item, progress)

    context.log.info(f"{len(items)} work items, {sum(len(item.seeds) for item in items)} split seeds")
    observer = context.resources.observer
    for outcome in context.resources.executor.run(items, on_progress):
        state = "failed" if outcome.result.error else "done"
        context.log.info(
            f"{_seeds(outcome.item)}: {state} after {outcome.result.seconds:.1f} s, log {outcome.log}"
        )
        yield outcome


def _seeds(item: WorkItem) -> str:
    if len(item.seeds) > 1:
        return f"{item.step}, seeds {item.seeds[0]} to {item.seeds[-1]} ({len(item.seeds)})"
    return f"{item.step}, seed {item.seeds[0]}" if item.seeds else item.step


def _cost(result: ItemResult, shared_by: int) -> dict[str, float]:
    return {
        "seconds": round(result.seconds / shared_by, 3),
        "worker_seconds": result.seconds,
        "peak_memory_mb": round(result.peak_memory_bytes / 1e6, 1),
    }


def _failure(study: Study, step: str, failed: Sequence[Outcome]) -> dg.Failure:
    lines = [
        f"{_seeds(outcome.item)}: {outcome.result.error}\n--- end of {outcome.log}\n{outcome.log_end}"
        for outcome in failed
    ]
    seeds = [seed for outcome in failed for seed in outcome.item.seeds]
    named = f" for seeds {seeds}" if seeds else ""
    return dg.Failure(f"{study.name}/{step} failed{named}\n" + "\n".join(lines))
