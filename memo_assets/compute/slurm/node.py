"""What a worker knows of the Slurm task that it is, and what it does when the task is about to be stopped.

What belongs here: the worker's side only: signals, who asked, queueing itself again. What does not: saving state (the
steps do), and the submitting side (`executor`).

Slurm sends SIGUSR2 ahead of the time limit (by the batch script's --signal) and SIGTERM both when a task is preempted
and when it is cancelled; then the queue tells which: a cancelled task is completing already.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

from memo_assets.compute.reporting import say
from memo_assets.compute.slurm.queue import SlurmQueue
from memo_assets.training.interruption import Interrupted

REQUEUES_VARIABLE = "MEMO_SLURM_REQUEUES"
TIME_VARIABLE = "MEMO_SLURM_TIME"
_SECONDS_TO_BE_STOPPED = 60


class StopSignal:
    """Remembers that Slurm asked to stop; the steps ask for it between two of theirs."""

    def __init__(self) -> None:
        self.number: int | None = None

    def install(self) -> None:
        """Catch SIGUSR2 and SIGTERM from now on."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._caught)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.number is not None

    def _caught(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.number = self.number or number


@dataclass(frozen=True)
class SlurmTask:
    """The task of a Slurm array that this process is.

    Attributes:
        id: such as 17_3.
        gpus: GPUs that Slurm gave it.
        restarts: how often it was queued again so far.
        requeues: how often it may be.
        time_limit: as the settings give it; empty where they give none.
    """

    id: str
    gpus: int
    restarts: int
    requeues: int
    time_limit: str

    def give_way(self, interrupted: Interrupted, number: int) -> str | None:
        """Queue this task again, or say why not.

        Args:
            interrupted: where the work stands.
            number: the signal that asked to stop.

        Returns:
            None if no result is to be written: the task is queued again or was cancelled. Else the error.
        """
        preempted = number == signal.SIGTERM
        if preempted and self._is_cancelled():
            say(f"cancelled, {interrupted}")
            return None
        if not interrupted.kept and not preempted:
            return (
                f"the time limit{self._limit()} is too short: {interrupted}. Raise compute.slurm.time of the study (or of "
                "slurm.yaml) so that it fits in whole"
            )
        if not interrupted.progressed and not preempted:
            return (
                f"the time limit{self._limit()} left no time for a single one of {interrupted.total} {interrupted.unit} "
                "in this attempt: raise compute.slurm.time of the study (or of slurm.yaml)"
            )
        if self.restarts >= self.requeues:
            return (
                f"{interrupted}, and queued again {self.restarts} times already, which is as often as compute.slurm.requeues "
                f"allows: raise it or compute.slurm.time{self._limit()}, and materialize again: what is saved is kept"
            )
        why = "preempted" if preempted else f"at the time limit{self._limit()}"
        say(
            f"{why}, {interrupted}; queueing this task again ({self.restarts + 1} of at most {self.requeues} times)"
        )
        run = subprocess.run(["scontrol", "requeue", self.id], capture_output=True, text=True, check=False)
        if run.returncode:
            return (
                f"{why}, {interrupted}, and Slurm does not queue the task again: {run.stderr.strip()}. Materialize again: "
                "what is saved is kept"
            )
        time.sleep(
            _SECONDS_TO_BE_STOPPED
        )  # Slurm ends this process now; ending by itself would count as done
        return None

    def _is_cancelled(self) -> bool:
        states = SlurmQueue().states([self.id])
        state = None if states is None else states.get(self.id)
        return state is None or state.state != "RUNNING"

    def _limit(self) -> str:
        return f" ({self.time_limit})" if self.time_limit else ""


def this_task(environment: Mapping[str, str] = os.environ) -> SlurmTask | None:
    """The Slurm task that runs this process; None for workers of other executors, also inside a Slurm job."""
    if REQUEUES_VARIABLE not in environment:
        return None
    return SlurmTask(
        id=f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}",
        gpus=int(environment.get("SLURM_GPUS_ON_NODE", "0")),
        restarts=int(environment.get("SLURM_RESTART_COUNT", "0")),
        requeues=int(environment[REQUEUES_VARIABLE]),
        time_limit=environment[TIME_VARIABLE],
    )
