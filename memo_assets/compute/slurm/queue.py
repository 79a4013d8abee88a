"""Asking Slurm: squeue for all states at once, scancel, and sacct where there is accounting.

What belongs here: calls of Slurm's commands and what their answers mean. What does not: deciding what follows
(`executor`). An answer of None means that the controller does not answer now: keep what was known and ask later.
"""

import os
import shutil
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_SECONDS_TO_ANSWER = 30
_ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
GONE = "GONE"


@dataclass(frozen=True)
class TaskState:
    """State of one task as squeue tells it, such as PENDING, and Slurm's reason; GONE if Slurm forgot it."""

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in _ENDED or self.state == GONE

    @property
    def waits(self) -> bool:
        """Whether it has not started, or waits to be started again."""
        return self.state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED")

    def __str__(self) -> str:
        """Such as `pending (Resources)`."""
        reason = f" ({self.reason})" if self.reason and self.reason != "None" else ""
        return f"{self.state.lower().replace('_', ' ')}{reason}"


class SlurmQueue:
    """Slurm's commands of this machine."""

    def __init__(self) -> None:
        self._accounting = True

    @staticmethod
    def is_here() -> bool:
        """Whether Slurm's commands are installed here."""
        return all(shutil.which(command) for command in ("sbatch", "squeue", "scancel"))

    def states(self, jobs: Collection[str]) -> dict[str, TaskState] | None:
        """States of all tasks of some jobs or arrays, in one call; tasks that Slurm forgot are absent.

        Args:
            jobs: ids of jobs, arrays or tasks, such as 17 or 17_3.
        """
        if not jobs:
            return {}
        return self._squeue("-j", ",".join(sorted({job.partition("_")[0] for job in jobs})))

    def states_named(self, name: str) -> dict[str, TaskState] | None:
        """States of all tasks whose job has a name."""
        return self._squeue("--name", name)

    def living(self, tasks: Collection[str]) -> set[str] | None:
        """Those of some tasks that are queued or running."""
        states = self.states(tasks)
        return (
            None if states is None else {task for task in tasks if task in states and not states[task].ended}
        )

    def cancel(self, *arguments: str) -> str | None:
        """Cancel jobs by scancel's arguments.

        Returns:
            What scancel complained of; None if it did as told.
        """
        code, _, error = _call(["scancel", *arguments])
        return error.strip() or f"scancel ended with code {code}" if code else None

    def accounted(self, tasks: Iterable[str]) -> dict[str, str]:
        """Final states by the accounting, such as `OUT_OF_MEMORY`; empty where there is none."""
        wanted = list(tasks)
        if not wanted or not self._accounting or shutil.which("sacct") is None:
            return {}
        code, output, _ = _call(["sacct", "-X", "-o", "JobID,State", "--parsable2", "-j", ",".join(wanted)])
        if code:
            self._accounting = False
            return {}
        from submitit.slurm.slurm import SlurmInfoWatcher

        found = SlurmInfoWatcher().read_info(output)
        return {task: found[task]["State"] for task in wanted if task in found}

    def _squeue(self, *which: str) -> dict[str, TaskState] | None:
        code, output, error = _call(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", *which])
        if code:
            return {} if "Invalid job id" in error else None
        rows = [line.split("|", 2) for line in output.splitlines() if line.count("|") >= 2]
        return {task.strip(): TaskState(state.strip(), reason.strip()) for task, state, reason in rows}


def _call(command: list[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of a command; a command that does not end in time has failed."""
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS_TO_ANSWER,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"{command[0]} did not answer within {_SECONDS_TO_ANSWER} s"
    return run.returncode, run.stdout, run.stderr
