"""What is tried again by itself: a worker that was lost, once; never what fails for a reason of its own."""

import threading
import time
from collections.abc import Callable

import dagster as dg
import psutil
import pyarrow as pa
import pytest

from memo_assets.assets import training
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.slurm.endings import may_pass
from memo_assets.compute.slurm.queue import GONE, TaskState
from memo_assets.compute.worker import PARENT_VARIABLE
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets_tests.automation.conftest import RANGE, toy

pytestmark = pytest.mark.slow
LONG = {"training.epochs": 4000, "training.checkpoints": [0, 4000], "compute": {"pack": 6, "device": "cpu"}}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SECONDS_BEFORE_RETRY", 0)


def adapters(study: Study, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    executor = LocalExecutor()
    keys = [dg.AssetKey([study.name, "adapters"])]
    job = build_defs([study], {"executor": executor}).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    try:
        return job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            tags=dict(zip(RANGE, ("0", "5"), strict=True)),
            raise_on_error=False,
        )
    finally:
        executor.close()


def kill_workers(times: int, layout: Layout, end: Callable[[psutil.Process], None]) -> threading.Thread:
    """End workers of this process some times, each time one of them has saved a state since."""

    def watch() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            time.sleep(0.05)
            for process in psutil.Process().children():
                is_worker = process.environ().get(PARENT_VARIABLE) and process.pid not in killed
                if is_worker and list(layout.work.glob("adapters-*/progress.json")):
                    time.sleep(0.3)
                    killed.add(process.pid)
                    end(process)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def events(result: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> int:
    return len([event for event in result.all_events if event.event_type == kind])


def test_a_lost_worker_is_replaced_once(instance: dg.DagsterInstance) -> None:
    study = toy(**LONG)
    kill_workers(1, Layout.of("toy"), psutil.Process.kill)
    result = adapters(study, instance)
    assert result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 1
    recorded = [
        event.partition
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    assert sorted(map(str, recorded)) == ["0", "1", "2", "3", "4", "5"]


def test_a_worker_that_somebody_ended_is_not_replaced(instance: dg.DagsterInstance) -> None:
    kill_workers(1, Layout.of("toy"), psutil.Process.terminate)
    result = adapters(toy(**LONG), instance)
    assert not result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 0


def test_bad_input_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    write_parquet(Layout.of("toy").split_mask(4), pa.table({"sample_id": [10_000]}))
    result = adapters(toy(), instance)
    assert not result.success
    assert events(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == 0


def test_slurm_tasks_that_lost_their_node_may_pass_and_no_others() -> None:
    assert may_pass(TaskState("NODE_FAIL"))
    assert may_pass(TaskState("PREEMPTED"))
    assert not any(may_pass(TaskState(s)) for s in ("CANCELLED", "OUT_OF_MEMORY", "TIMEOUT", "FAILED", GONE))
