"""What Dagster's record says of checks: which partitions one has still to judge, and which failed last.

What belongs here: reading the record. What does not: the checks (`checks`), their names (`check_list`).

In Dagster 1.13 a check over partitions is a preview, and evaluates one partition a run; runs here take whole ranges of
split seeds. So checks have no partitions: one evaluation judges the seeds recorded since the check last passed,
whatever run recorded them, and all of them if there are none. A seed that failed, or whose run ended before it was
judged, is judged again until it passes; nothing is read twice for the sake of others. A run over a range, a backfill
in several runs and a check executed by hand in the web UI all leave the latest evaluation true of the whole asset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

from memo_assets.assets.check_list import Check, blocking_checks
from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.graph import code_versions, steps
from memo_assets.staleness import latest_materializations
from memo_assets.store.layout import Layout

JUDGED_UP_TO, SEEDS_AT_FAULT = "judged_up_to_event", "seeds_at_fault"


@dataclass(frozen=True)
class Recorded:
    """Partitions as they were last recorded.

    Attributes:
        partitions: their keys.
        up_to: number of the latest of their events; later ones are left to the next evaluation.
    """

    partitions: list[str]
    up_to: int


def to_judge(instance: dg.DagsterInstance, study: Study, check: Check) -> Recorded:
    """Partitions recorded since a check last passed, or all if there are none.

    Args:
        instance: with the record.
        study: the study.
        check: a check of an asset with partitions.
    """
    passed = instance.event_log_storage.get_asset_check_execution_history(
        check.key(study), limit=1, status={Status.SUCCEEDED}
    )
    evaluation = passed[0].evaluation if passed else None
    if evaluation is not None:
        last: Any = evaluation.metadata[JUDGED_UP_TO].value
        new = current_partitions(instance, study, check.asset, after=last)
        if new.partitions:
            return new
    return current_partitions(instance, study, check.asset)


def current_partitions(
    instance: dg.DagsterInstance, study: Study, name: str, *, after: int | None = None
) -> Recorded:
    """Partitions of an asset whose latest record is of the study's settings and samples as they are now.

    Those of which a file is gone, or that are of other settings, are for the next run to make.

    Args:
        instance: with the record.
        study: the study.
        name: an asset with partitions.
        after: number of an event; None takes partitions whenever they were recorded.
    """
    records = latest_materializations(instance, asset_key(study, name), after=after)
    wanted = {CODE_VERSION_TAG: code_versions(study)[name]}
    if version := _data_version(instance, study, "samples"):
        wanted[get_input_data_version_tag(asset_key(study, "samples"))] = version
    found = []
    for partition, record in records.items():
        materialization = record.asset_materialization
        assert materialization is not None
        tags = materialization.tags or {}
        if all(tags.get(tag) == value for tag, value in wanted.items()):
            found.append(partition)
    return Recorded(found, max((record.storage_id for record in records.values()), default=after or 0))


def seeds_there(study: Study, name: str, partitions: Sequence[str]) -> list[int]:
    """Split seeds of an asset's partitions whose files are there, rising.

    Args:
        study: the study.
        name: an asset partitioned by split seed.
        partitions: their keys.
    """
    layout = Layout.of(study.name)
    seeds = sorted(int(partition) for partition in partitions)
    return [seed for seed in seeds if layout.output(name, seed).exists()]


def is_current(instance: dg.DagsterInstance, study: Study, name: str) -> bool:
    """Whether an asset without partitions was last materialized with the study's settings as they are now."""
    event = instance.get_latest_materialization_event(asset_key(study, name))
    if event is None or event.asset_materialization is None:
        return False
    return (event.asset_materialization.tags or {}).get(CODE_VERSION_TAG) == code_versions(study)[name]


def unproven(instance: dg.DagsterInstance, study: Study, assets: Iterable[str]) -> list[Check]:
    """Blocking checks of some assets that did not pass when they last ran, or never ran to their end.

    Args:
        instance: with the record.
        study: the study.
        assets: names of assets.
    """
    latest = _latest(instance, study, assets)
    return [check for check, record in latest if record is None or record.status != Status.SUCCEEDED]


@dataclass(frozen=True)
class Fault:
    """What a blocking check found broken when it last ran.

    Attributes:
        asset: whose check it is.
        sentence: asset, check and what it found.
        seeds: split seeds at fault; None where the fault is not of single seeds.
    """

    asset: str
    sentence: str
    seeds: frozenset[int] | None


def faults_above(instance: dg.DagsterInstance, study: Study, name: str) -> list[Fault]:
    """What blocking checks of all assets above one found broken when they last ran, in whatever run that was.

    Args:
        instance: with the record.
        study: the study.
        name: the asset that builds on them.
    """
    # A check that two assets have asks the same of both: the later answer counts.
    answers = [
        (record.id, check, record.evaluation)
        for check, record in _latest(instance, study, _all_upstream(study, name))
        if record is not None and record.status in (Status.SUCCEEDED, Status.FAILED)
    ]
    last = {check.name: (check, evaluation) for _, check, evaluation in sorted(answers, key=lambda a: a[0])}
    faults = []
    for check, evaluation in last.values():
        if evaluation is None or evaluation.passed:
            continue
        at_fault: Any = evaluation.metadata.get(SEEDS_AT_FAULT)
        seeds = None if at_fault is None else frozenset(at_fault.value)
        faults.append(Fault(check.asset, f"{check.asset}, {check.name}: {evaluation.description}", seeds))
    return faults


def require_passed(instance: dg.DagsterInstance, study: Study, name: str, seeds: Sequence[int]) -> None:
    """Refuse to build on what a blocking check found broken, in whatever run that was.

    Dagster itself stops what is below a failed check in the same run only; a backfill goes on with its next run.

    Args:
        instance: with the record.
        study: the study.
        name: the asset that is to run.
        seeds: its split seeds; a check that found fault with other seeds only does not count.

    Raises:
        dagster.Failure: the message has the sentence of every such check.
    """
    sentences = [
        fault.sentence
        for fault in faults_above(instance, study, name)
        if fault.seeds is None or not fault.seeds.isdisjoint(seeds)
    ]
    if sentences:
        raise dg.Failure(
            f"{study.name}/{name} is not run, for checks of what it reads have failed. {'; '.join(sentences)}. When that "
            "is mended, materialize what was at fault again, or execute its checks alone"
        )


def _latest(
    instance: dg.DagsterInstance, study: Study, assets: Iterable[str]
) -> list[tuple[Check, AssetCheckExecutionRecord | None]]:
    """The blocking checks of some assets, each with the record of when it was last to run."""
    checks = blocking_checks(study, assets)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [check.key(study) for check in checks]
    )
    return [(check, records.get(check.key(study))) for check in checks]


def _all_upstream(study: Study, name: str) -> set[str]:
    graph = steps(study)
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = set(graph[waiting.pop()].upstream) - found
        found |= new
        waiting += new
    return found


def _data_version(instance: dg.DagsterInstance, study: Study, name: str) -> str | None:
    record = instance.get_latest_data_version_record(asset_key(study, name))
    materialization = None if record is None else record.asset_materialization
    return None if materialization is None else (materialization.tags or {}).get(DATA_VERSION_TAG)
