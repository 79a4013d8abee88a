"""What can go wrong with tasks, done to real tasks: what the user sees, nothing lost, nothing doubled, no job left."""

import os
import platform
import signal
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from memo_assets.compute.items import WorkItem
from memo_assets.store.files import content_hash, write_parquet
from memo_assets_tests.slurm.conftest import LONG, Lab, Seen

pytestmark = pytest.mark.slow


def versions(lab: Lab, steps: int) -> dict[int, str]:
    """Content of all adapters."""
    return {
        seed: content_hash(*(lab.layout.adapter(seed, epoch) for epoch in (0, steps // 5)))
        for seed in lab.trained()
    }


def test_a_killed_task_fails_alone_and_is_redone_alone(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    seen = Seen()
    seen.when_training = lambda item: os.kill(lab.worker(item), signal.SIGKILL) if item == items[1] else None
    outcomes = lab.run(items, seen)
    assert outcomes[0, 1].result.error is None
    error = outcomes[2, 3].result.error
    assert error is not None
    assert "was killed or failed before it could report; what it saved is kept: materialize again" in error
    assert "Killed" in outcomes[2, 3].log_end
    assert lab.trained() == [0, 1]
    before = versions(lab, LONG)

    again = Seen()
    redone = lab.run(lab.items(study, [2, 3]), again)
    assert redone[2, 3].result.error is None
    assert any("resumed at step" in line for line in again.logs)
    assert versions(lab, LONG).items() >= before.items()
    assert lab.trained() == [0, 1, 2, 3]


def test_an_error_of_the_worker_is_one_sentence_and_the_end_of_its_log(lab: Lab) -> None:
    study = lab.study()
    lab.inputs(study)
    write_parquet(lab.layout.split_mask(3), pa.table({"sample_id": [10_000]}))
    outcomes = lab.run(lab.items(study, [0, 1], [2, 3]))
    assert outcomes[0, 1].result.error is None
    assert str(outcomes[2, 3].result.error).startswith("split mask of seed 3 names samples that ")
    assert "Traceback (most recent call last)" in Path(str(outcomes[2, 3].log)).read_text()
    assert "ValueError: split mask of seed 3" in outcomes[2, 3].log_end
    assert lab.trained() == [0, 1]


def test_a_drained_node_ends_its_tasks_and_the_others_wait_for_it(lab: Lab) -> None:
    study = lab.study(LONG, **{"compute.slurm.parallel": 1})
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    node = f"nodename={platform.node()}"
    seen = Seen()

    def drain(item: WorkItem) -> None:
        if item == items[0]:
            lab.cluster.call("scontrol", "update", node, "state=drain", "reason=test")

    seen.when_training = drain
    with closing(lab.outcomes(items, seen)) as outcomes:
        first = next(outcomes)
        assert first.wanted == [0, 1]
        assert first.result.error is None
        lab.wait_until(lambda: "DRAIN" in lab.cluster.call("squeue", "-h", "-r", "-o", "%r"))
        threading.Timer(4, lambda: lab.cluster.call("scontrol", "update", node, "state=resume")).start()
        second = next(outcomes)
        assert second.result.error is None
    assert "JobArrayTaskLimit" in seen.said  # why the second task waited at first
    assert "DRAINED" in seen.said
    lab.cluster.wait_for_node("idle")


@pytest.mark.parametrize("whole", [False, True], ids=["one task", "the whole array"])
def test_scancel_from_outside_is_told_and_what_was_saved_is_gone_on_with(lab: Lab, whole: bool) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    seen = Seen()

    def cancel(item: WorkItem) -> None:
        if len(seen.training) == 2:
            (job,) = seen.arrays()
            lab.cluster.call("scancel", job if whole else f"{job}_1")

    seen.when_training = cancel
    outcomes = lab.run(items, seen)
    error = str(outcomes[2, 3].result.error)
    assert "was cancelled, by scancel or by an administrator; what it saved is kept" in error
    assert (outcomes[0, 1].result.error is None) != whole
    assert any("adapters, seeds 2 to 3 (2): cancelled, interrupted at step" in line for line in seen.logs)
    assert lab.trained() == ([] if whole else [0, 1])

    again = Seen()
    redone = lab.run(items if whole else items[1:], again)
    assert all(outcome.result.error is None for outcome in redone.values())
    assert sum("resumed at step" in line for line in again.logs) == (2 if whole else 1)
    assert not any("resumed at step 0 " in line for line in again.logs)
    assert lab.trained() == [0, 1, 2, 3]


def test_a_controller_that_is_gone_for_half_a_minute_loses_nothing(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    seen = Seen()
    timer = threading.Timer(30, lab.cluster.start_controller)

    def stop(item: WorkItem) -> None:
        if len(seen.training) == 2:
            lab.cluster.stop_controller()
            timer.start()

    seen.when_training = stop
    items = lab.items(study, [0, 1], [2, 3])
    outcomes = lab.run(items, seen)
    timer.join()
    assert all(outcome.result.error is None for outcome in outcomes.values())
    assert len(seen.arrays()) == 1
    assert lab.trained() == [0, 1, 2, 3]
    lab.cluster.wait_for_node("idle")


def test_submitting_waits_for_a_controller_that_does_not_answer(lab: Lab) -> None:
    study = lab.study()
    lab.inputs(study)
    lab.run(lab.items(study, [2, 3]))  # the nodes are checked by now
    lab.wait_until(lambda: not lab.living())
    lab.cluster.stop_controller()
    timer = threading.Timer(12, lab.cluster.start_controller)
    timer.start()
    seen = Seen()
    outcomes = lab.run(lab.items(study, [0, 1]), seen)
    timer.join()
    assert outcomes[0, 1].result.error is None
    assert "Slurm's controller does not answer" in seen.said
    assert len(seen.arrays()) == 1


def test_half_a_result_is_no_result(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    (given,) = items = lab.items(study, [0, 1])
    result = given.folder / "result.json"
    seen = Seen()

    def cut(item: WorkItem) -> None:
        pid = lab.worker(item)
        os.kill(pid, signal.SIGSTOP)
        result.write_text('{"seeds": {"0": {"data_ver')
        os.kill(pid, signal.SIGKILL)

    seen.when_training = cut
    outcomes = lab.run(items, seen)
    error = str(outcomes[0, 1].result.error)
    assert f"its result {result} cannot be read" in error
    assert "materialize these seeds again" in error
    assert lab.trained() == []
    assert lab.run(items)[0, 1].result.error is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_said_and_nothing_half_written_is_left(lab: Lab) -> None:
    study = lab.study(LONG, **{"model.width": 256})
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    first = lab.run(items[:1])  # the warehouse has room for this
    assert first[0, 1].result.error is None
    before = versions(lab, LONG)
    place = lab.layout.work / items[1].key
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        outcomes = lab.run(items[1:])
        error = str(outcomes[2, 3].result.error)
        assert "No space left on device" in error + outcomes[2, 3].log_end
        assert lab.trained() == [0, 1]
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert lab.run(items[1:])[2, 3].result.error is None
    assert versions(lab, LONG).items() >= before.items()
