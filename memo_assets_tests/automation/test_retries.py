"""What is tried again by itself: a worker that was lost, once; never what fails for a reason of its own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from memo_assets.assets import training
from memo_assets.assets.watching import ComputeLog
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.slurm.endings import may_pass
from memo_assets.compute.slurm.queue import GONE, TaskState
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets_tests.automation.conftest import RANGE, run, toy

pytestmark = pytest.mark.slow
# Some seconds in one worker: long enough that it can be ended on the way.
LONG = {"training.epochs": 200, "training.checkpoints": [0, 200], "compute": {"pack": 6, "device": "cpu"}}


@pytest.fixture
def ready(warehouse: Path, executor: LocalExecutor) -> Iterator[dg.DagsterInstance]:
    """A study whose samples and split masks are there."""
    with open_instance() as instance:
        assert run(toy(), instance, executor, ["raw_dataset", "samples"])
        assert run(toy(), instance, executor, ["split_masks"], ["0", "5"])
        yield instance


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SECONDS_BEFORE_RETRY", 0)


class Ending(ComputeLog):
    """An observer that ends the worker of the first item that gets on."""

    def __init__(self, executor: LocalExecutor, end: Callable[[subprocess.Popen[str]], None]) -> None:
        self._executor, self._end = executor, end
        self.ended = 0

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        if not self.ended:
            assert progress.done < progress.total, "it was done before it could be ended"
            for worker in self._executor._busy():
                self._end(worker.process)
                self.ended += 1


def adapters(
    study: Study, instance: dg.DagsterInstance, end: Callable[[subprocess.Popen[str]], None] | None = None
) -> dg.ExecuteInProcessResult:
    """A run of all adapters, in which a worker is ended."""
    executor = LocalExecutor()
    observer = ComputeLog() if end is None else Ending(executor, end)
    keys = [dg.AssetKey([study.name, "adapters"])]
    definitions = build_defs([study], {"executor": executor, "observer": observer})
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    with closing(executor):
        result = job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            tags=dict(zip(RANGE, ("0", "5"), strict=True)),
            raise_on_error=False,
        )
    assert not isinstance(observer, Ending) or observer.ended == 1
    return result


def events(result: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> int:
    return len([event for event in result.all_events if event.event_type == kind])


def test_a_lost_worker_is_replaced_once(ready: dg.DagsterInstance) -> None:
    result = adapters(toy(**LONG), ready, subprocess.Popen.kill)
    assert result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 1
    recorded = [
        event.partition
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    assert sorted(map(str, recorded)) == ["0", "1", "2", "3", "4", "5"]


def test_a_worker_that_somebody_ended_is_not_replaced(ready: dg.DagsterInstance) -> None:
    result = adapters(toy(**LONG), ready, subprocess.Popen.terminate)
    assert not result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 0


def test_bad_input_is_not_tried_again(ready: dg.DagsterInstance) -> None:
    write_parquet(Layout.of("toy").split_mask(4), pa.table({"sample_id": [10_000]}))
    result = adapters(toy(), ready)
    assert not result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 0


def test_slurm_tasks_that_lost_their_node_may_pass_and_no_others() -> None:
    assert may_pass(TaskState("NODE_FAIL"))
    assert may_pass(TaskState("PREEMPTED"))
    assert not any(may_pass(TaskState(s)) for s in ("CANCELLED", "OUT_OF_MEMORY", "TIMEOUT", "FAILED", GONE))
