"""Bringing a study up to date: find what is missing, stale or failed, and run just that through Dagster.

What belongs here: the plan and the runs of `memo demo` and of the end-to-end tests. What does not: how progress is
shown (`console`), what is stale (`status`).
"""

import gc
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, get_args

import dagster as dg

from memo_assets.assets import comparison, mitigations
from memo_assets.assets.check_list import Check
from memo_assets.assets.check_records import unproven
from memo_assets.assets.source import observe
from memo_assets.assets.spec import asset_key
from memo_assets.compute.outcomes import Watcher as TaskWatcher
from memo_assets.config import GpuStep, Study
from memo_assets.config.base import COMPARISON
from memo_assets.failures import step_failure
from memo_assets.graph import FIGURES, steps
from memo_assets.instance import end_dead_runs, process_tag
from memo_assets.status import MISSING, partition_keys, study_state
from memo_assets.store.spare import copying_ahead

_START_TAG, _END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class RunFailed(RuntimeError):  # noqa: N818 - says what happened
    """A Dagster run failed; the message says which asset and why."""


class Watcher(TaskWatcher, Protocol):
    """Is told what happens, for a progress display."""

    def asset_started(self, study: Study, name: str, partitions: int) -> None:
        """An asset is about to run, for so many partitions (0: it has none)."""
        ...

    def partition_done(self, study: Study, name: str, partition: str | None) -> None:
        """One partition, or an asset without partitions, is done."""
        ...

    def check_warned(self, study: Study, name: str, sentence: str) -> None:
        """A check of an asset found what does not stop the study, but should be known."""
        ...


def stages(study: Study) -> list[tuple[str, ...]]:
    """Names of assets that are planned together, upstream first: those of the same partitions, as many as can be."""
    left = {name: step.upstream for name, step in steps(study).items()}
    result = []
    while left:
        stage: list[str] = []
        for name, upstream in left.items():
            alike = not stage or partition_keys(study, name) == partition_keys(study, stage[0])
            if alike and not (left.keys() - stage) & set(upstream):
                stage.append(name)
        result.append(tuple(stage))
        left = {name: upstream for name, upstream in left.items() if name not in stage}
    return result


def bring_up_to_date(
    study: Study,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    watcher: Watcher,
    *,
    before_first_run: Callable[[Study], None] | None = None,
) -> int:
    """Run every asset of a study that is missing, stale or failed, for just the partitions that are.

    The study's source is observed first, so that a changed file or commit counts at once.

    Args:
        study: the study.
        definitions: that hold the study's assets; the resource `observer` should be the watcher.
        instance: where the runs are recorded.
        watcher: is told what happens.
        before_first_run: called with the study if anything is to be run, such as `Executor.warm_up`.

    Returns:
        Number of runs; 0 means that everything was fresh, and every blocking check has passed.

    Raises:
        RunFailed: a run failed, or what is to be read is not there; nothing below it was run.
    """
    runs = 0
    end_dead_runs(instance)
    there = definitions.resolve_asset_graph().asset_check_keys
    unseen = observe(study, instance)
    with _garbage_of_runs_alone(), copying_ahead():
        for stage in _stages_now(study, definitions, instance):
            for names, partitions in _todo(study, definitions, instance, stage):
                if unseen and "raw_dataset" in names:
                    raise RunFailed(f"{study.name}/raw_dataset: {unseen}")
                if not runs and before_first_run is not None:
                    before_first_run(study)
                _run(study, definitions, instance, watcher, names=names, partitions=partitions)
                runs += 1
            # An earlier run may have ended before its checks, or with one that failed: nothing is built on that.
            checks = [check for check in unproven(instance, study, stage) if check.key(study) in there]
            if checks:
                _run(study, definitions, instance, watcher, names=[], partitions=[], checks=checks)
                runs += 1
    return runs


@contextmanager
def _garbage_of_runs_alone() -> Iterator[None]:
    """What is there before a run, Dagster's definitions and modules, is not looked through by each collection of the run."""
    try:
        yield
    finally:
        gc.unfreeze()


def _stages_now(
    study: Study, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> Iterator[tuple[str, ...]]:
    """The stages, each looked at when it comes: one of which something is there in parts, planned one after another.

    For what is there may turn out to be fresh when what is above it has been done again, and has to be sound before more is
    built on it.
    """
    for stage in stages(study):
        parts = _cut(study, stage)
        if len(parts) > 1:
            states = study_state(study, definitions, instance, list(stage))
            if all(part.state == MISSING for state in states for part in state.partitions):
                parts = [stage]
        yield from parts


def _cut(study: Study, stage: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A stage in parts: an asset with partitions alone, others together but for a GPU-bound asset and what follows it."""
    parts: list[tuple[str, ...]] = []
    for name in stage:
        if not parts or partition_keys(study, name) != [None] or name in get_args(GpuStep):
            parts.append(())
        parts[-1] += (name,)
    return parts


def _todo(
    study: Study, definitions: dg.Definitions, instance: dg.DagsterInstance, stage: tuple[str, ...]
) -> Iterator[tuple[list[str], list[str]]]:
    """Runs of a stage: names of assets, and one gapless range of partitions (empty: none)."""
    states = study_state(study, definitions, instance, list(stage))
    todo = [state.name for state in states if state.todo]
    needed = [name for name in stage if name in todo or _below(study, name, set(todo))]
    if needed and partition_keys(study, stage[0]) == [None]:
        yield needed, []
    elif needed:
        for keys in _ranges(partition_keys(study, stage[0]), [part.partition for part in states[0].todo]):
            yield needed, keys


def _ranges(partitions: Sequence[str | None], wanted: Sequence[str | None]) -> list[list[str]]:
    """The wanted ones of all partitions, by gapless ranges."""
    found = itertools.groupby(partitions, key=set(wanted).__contains__)
    return [[str(key) for key in keys] for is_wanted, keys in found if is_wanted]


def _below(study: Study, name: str, above: set[str]) -> bool:
    upstream = steps(study)[name].upstream
    return any(up in above or _below(study, up, above) for up in upstream)


def _run(
    study: Study,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    watcher: Watcher,
    *,
    names: Sequence[str],
    partitions: Sequence[str],
    checks: Sequence[Check] = (),
) -> None:
    """Run assets with all their checks, or some checks alone."""
    keys = [asset_key(study, name) for name in names]
    job = definitions.resolve_implicit_job_def_def_for_assets(
        keys or [asset_key(study, check.asset) for check in checks]
    )
    assert job is not None
    if checks:
        job = job.get_subset(asset_check_selection={check.key(study) for check in checks})
    tags = {_START_TAG: partitions[0], _END_TAG: partitions[-1]} if partitions else {}
    run_id = str(uuid.uuid4())
    name_of = {_step_key(study, name): name for name in names}

    def on_event(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.event_type == dg.DagsterEventType.STEP_START and event.step_key in name_of:
            watcher.asset_started(study, name_of[event.step_key], len(partitions))
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            watcher.partition_done(study, event.asset_key.path[-1], event.partition)
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.severity == dg.AssetCheckSeverity.WARN:
                watcher.check_warned(study, found.asset_key.path[-1], found.description or found.check_name)

    instance.add_event_listener(run_id, on_event)
    gc.collect()
    gc.freeze()  # until `_garbage_of_runs_alone` ends
    result = job.execute_in_process(
        instance=instance,
        asset_selection=keys or None,
        tags={**tags, **process_tag(), "study": study.name},
        run_id=run_id,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    if not result.success:
        raise RunFailed(_why(study.name, result))


def run_comparison(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Make the table, figures and page over all studies of these definitions, from what is in the warehouse.

    Args:
        definitions: that hold the group `comparison`.
        instance: where the run is recorded.

    Raises:
        RunFailed: the run failed.
    """
    keys = [
        mitigations.KEY,
        *(comparison.figure_key(name) for name in (*comparison.FIGURES, comparison.REPORT)),
    ]
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    result = job.execute_in_process(
        instance=instance,
        asset_selection=keys,
        tags=process_tag(),
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    if not result.success:
        raise RunFailed(_why(COMPARISON, result))


def _step_key(study: Study, name: str) -> str:
    return f"{study.name}__figures" if name in FIGURES else f"{study.name}__{name}"


def _why(study: str, result: dg.ExecuteInProcessResult) -> str:
    lines = [
        f"{study}/{found.asset_key.path[-1]}: check {found.check_name} failed: {found.description}"
        for found in result.get_asset_check_evaluations()
        if found.blocking and not found.passed
    ]
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None and error.cls_name == "DagsterAssetCheckFailedError":
            continue  # its check has said why
        name = (event.step_key or "").removeprefix(f"{study}__")
        lines.append(f"{study}/{name}: {step_failure(event)}")
    return "\n".join(lines) or f"study {study}: run {result.run_id} failed; see the web UI"
