"""What it means that a Slurm task ended without a result, in a sentence that says what to change."""

from memo_assets.compute.executor import Task
from memo_assets.compute.slurm.queue import GONE, TaskState
from memo_assets.config import Slurm

_SENTENCES = {
    "TIMEOUT": "ran into its time limit ({time}) before it could save its state: raise compute.slurm.time (or "
    "compute.slurm.notice_seconds, {notice} now, if one step takes longer than that)",
    "OUT_OF_MEMORY": "ran out of memory ({memory}): raise compute.slurm.memory or lower compute.pack",
    "CANCELLED": "was cancelled, by scancel or by an administrator",
    "NODE_FAIL": "lost its node and was not queued again",
    "BOOT_FAIL": "lost its node and was not queued again",
    "PREEMPTED": "was preempted and not queued again",
    "DEADLINE": "cannot end before its deadline any more",
    "FAILED": "was killed or failed before it could report",
    "COMPLETED": "ended without a result",
    GONE: "is unknown to Slurm and left no result",
}
# What may go well the next time, by itself; Slurm has tried as often as it was told to.
_PASSING = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED")


def may_pass(state: TaskState) -> bool:
    """Whether a task that ended in some state without a result was lost for a reason that may pass."""
    return state.state in _PASSING


def why_no_result(task: Task, state: TaskState, settings: Slurm) -> str:
    """The sentence for a task that ended in some state.

    Args:
        task: the task.
        state: its last state.
        settings: what Slurm was asked for.
    """
    sentence = _SENTENCES.get(state.state, f"ended as {state}")
    said = sentence.format(
        time=settings.time or "the partition's",
        notice=settings.notice_seconds,
        memory=settings.memory or "the partition's default",
    )
    kept = task.item.folder / "state"
    ahead = (
        "; what it saved is kept: materialize again" if kept.is_dir() else "; materialize these seeds again"
    )
    return f"Slurm job {task.id} {said}{ahead}"
