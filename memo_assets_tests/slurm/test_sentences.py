"""What is made of Slurm's answers and of interruptions, without Slurm: each case a sentence that says what to change."""

import signal
from pathlib import Path

import pytest

from memo_assets.compute.executor import Task
from memo_assets.compute.items import ItemResult, SeedResult
from memo_assets.compute.outcomes import read_result
from memo_assets.compute.slurm.endings import why_no_result
from memo_assets.compute.slurm.node import SlurmTask, StopSignal, this_task
from memo_assets.compute.slurm.queue import GONE, SlurmQueue, TaskState
from memo_assets.compute.worker import main
from memo_assets.config import Slurm
from memo_assets.store.files import write_json
from memo_assets.training.interruption import Interrupted
from memo_assets_tests.compute.small_items import item, small_study, write_inputs

SETTINGS = Slurm(time="00:10:00", memory="8G", notice_seconds=60)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            "TIMEOUT",
            "ran into its time limit (00:10:00) before it could save its state: raise compute.slurm.time (or ",
        ),
        ("OUT_OF_MEMORY", "ran out of memory (8G): raise compute.slurm.memory or lower compute.pack"),
        ("CANCELLED", "was cancelled, by scancel or by an administrator"),
        ("NODE_FAIL", "lost its node and was not queued again"),
        ("PREEMPTED", "was preempted and not queued again"),
        ("FAILED", "was killed or failed before it could report"),
        ("COMPLETED", "ended without a result"),
        (GONE, "is unknown to Slurm and left no result"),
        ("SOMETHING_NEW", "ended as something new"),
    ],
)
def test_an_end_without_result_says_what_to_do(tmp_path: Path, state: str, words: str) -> None:
    given = item(tmp_path, small_study(), "adapters", [0])
    task = Task(given, tmp_path, 3, "17")
    sentence = why_no_result(task, TaskState(state), SETTINGS)
    assert sentence.startswith(f"Slurm job 17_3 {words}")
    assert sentence.endswith("; materialize these seeds again")
    (given.folder / "state").mkdir(parents=True)
    kept = why_no_result(task, TaskState(state), SETTINGS)
    assert kept.endswith("; what it saved is kept: materialize again")


@pytest.mark.parametrize(
    ("state", "ended"),
    [("PENDING", False), ("RUNNING", False), ("COMPLETING", False), ("REQUEUED", False), ("SUSPENDED", False),
     ("COMPLETED", True), ("FAILED", True), ("TIMEOUT", True), ("NODE_FAIL", True), (GONE, True)],
)  # fmt: skip
def test_a_task_that_may_run_again_has_not_ended(state: str, ended: bool) -> None:
    assert TaskState(state).ended is ended


def test_a_state_in_words_has_its_reason() -> None:
    assert str(TaskState("PENDING", "Resources")) == "pending (Resources)"
    assert str(TaskState("OUT_OF_MEMORY", "None")) == "out of memory"


def fake_command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_accounting_is_read_where_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lines = [
        "JobID|State",
        "17_0|COMPLETED",
        "17_3|OUT_OF_MEMORY",
        "17_[4-6%2]|PENDING",
        "17_7|CANCELLED by 1000",
    ]
    fake_command(tmp_path, "sacct", "cat <<'EOF'\n" + "\n".join(lines) + "\nEOF")
    found = SlurmQueue().accounted(["17_3", "17_5", "17_7", "18_0"])
    assert found == {"17_3": "OUT_OF_MEMORY", "17_5": "PENDING", "17_7": "CANCELLED by 1000"}


def test_without_accounting_it_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    calls = tmp_path / "calls"
    fake_command(
        tmp_path, "sacct", f"echo x >> {calls}; echo 'Slurm accounting storage is disabled' >&2; exit 1"
    )
    queue = SlurmQueue()
    assert queue.accounted(["17_3"]) == {}
    assert queue.accounted(["17_4"]) == {}
    assert calls.read_text() == "x\n"


def test_no_answer_differs_from_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    fake_command(
        tmp_path, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    )
    assert SlurmQueue().states(["17"]) is None
    assert SlurmQueue().living(["17_0"]) is None
    fake_command(tmp_path, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert SlurmQueue().states(["17"]) == {}
    fake_command(tmp_path, "squeue", r"printf '17_0|RUNNING|None\n17_1|PENDING|a|b (c)\n17_2|FAILED|x\n'")
    assert SlurmQueue().states(["17_0", "17_1"])["17_1"] == TaskState("PENDING", "a|b (c)")  # pyright: ignore[reportOptionalSubscript]
    assert SlurmQueue().living(["17_0", "17_1", "17_2", "17_3"]) == {"17_0", "17_1"}


def slurm_task(**changes: object) -> SlurmTask:
    given = {"id": "17_3", "gpus": 1, "restarts": 0, "requeues": 2, "time_limit": "00:10:00", **changes}
    return SlurmTask(**given)  # pyright: ignore[reportArgumentType]


def test_work_that_cannot_be_split_must_fit_into_the_time_limit() -> None:
    error = slurm_task().give_way(Interrupted(40, 500, "steps", kept=False), signal.SIGUSR2)
    assert error == (
        "the time limit (00:10:00) is too short: interrupted at step 40 of 500, which starts anew the next time. Raise "
        "compute.slurm.time of the study (or of slurm.yaml) so that it fits in whole"
    )


def test_an_attempt_without_progress_is_not_repeated() -> None:
    error = slurm_task(time_limit="").give_way(Interrupted(40, 500, "steps", began=40), signal.SIGUSR2)
    assert error == (
        "the time limit left no time for a single one of 500 steps in this attempt: raise compute.slurm.time of the study "
        "(or of slurm.yaml)"
    )


def test_a_task_that_cannot_be_queued_again_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    fake_command(tmp_path, "scontrol", "echo 'Requested operation is presently disabled' >&2; exit 1")
    error = slurm_task().give_way(Interrupted(50, 500, "steps", began=40), signal.SIGUSR2)
    assert error == (
        "at the time limit (00:10:00), interrupted at step 50 of 500, and Slurm does not queue the task again: Requested "
        "operation is presently disabled. Materialize again: what is saved is kept"
    )


def test_a_process_knows_its_task_only_by_the_batch_script() -> None:
    job = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "20"}
    assert this_task(job) is None  # a worker of this machine's executor, started inside a job
    ours = {**job, "MEMO_SLURM_REQUEUES": "2", "MEMO_SLURM_TIME": "5", "SLURM_RESTART_COUNT": "1"}
    assert this_task(ours) == SlurmTask("17_3", 0, 1, 2, "5")


def test_the_first_signal_counts() -> None:
    stop = StopSignal()
    assert not stop()
    stop._caught(signal.SIGUSR2, None)
    stop._caught(signal.SIGTERM, None)
    assert stop()
    assert stop.number == signal.SIGUSR2


def test_a_task_queued_again_after_its_end_has_nothing_left_to_do(warehouse: Path) -> None:
    study = small_study()
    write_inputs(warehouse, study)
    given = item(warehouse, study, "adapters", [0])
    write_json(given.folder / "item.json", given.model_dump(mode="json"))
    done = ItemResult(seeds={0: SeedResult(data_version="x")}, seconds=1.0)
    write_json(given.folder / "result.json", done.model_dump(mode="json"))
    assert main(given.folder / "item.json", slurm_task(restarts=1)) == 0
    assert read_result(given.folder) == done
    assert not given.layout.training_log(0).exists()
    # The first attempt of a new submission computes, whatever lies there.
    assert main(given.folder / "item.json", slurm_task()) == 0
    assert given.layout.training_log(0).exists()
