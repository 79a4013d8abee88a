"""The one small interface behind which work items are computed: on this machine or by Slurm."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from memo_assets.compute.items import WorkItem
from memo_assets.compute.ledger import Entry, ExecutorName
from memo_assets.compute.outcomes import Outcome, Watcher
from memo_assets.config import Study


@dataclass(frozen=True)
class Task:
    """One item on its way.

    Attributes:
        item: the item.
        folder: of the array: list of items, batch script, logs.
        index: place of the item in the array.
        job: Slurm's id of the array, once it is known.
        units: the seeds that are wanted of it; all of them if none is named.
    """

    item: WorkItem
    folder: Path
    index: int
    job: str | None = None
    units: tuple[int, ...] = ()

    @property
    def id(self) -> str | None:
        """Slurm's id of the task, such as 17_3."""
        return None if self.job is None else f"{self.job}_{self.index}"

    def with_job(self, job: str) -> "Task":
        """The task, submitted."""
        return replace(self, job=job)


class Executor(Protocol):
    """Computes work items. Every method is called by one thread only."""

    name: ExecutorName

    def warm_up(self, study: Study) -> None:
        """The study's first items will come soon."""
        ...

    def prepare(self, items: Sequence[WorkItem], watcher: Watcher) -> None:
        """Check, before anything is claimed or sent, that items of one study and step can be computed.

        Raises:
            ExecutorError: they cannot; the message says what to change.
        """
        ...

    def still_there(self, entries: Sequence[Entry], watcher: Watcher) -> dict[tuple[str, int], str]:
        """Which of the tasks that runs now dead have sent are still queued or running.

        Returns:
            Slurm's id of the array by name of the array and index.

        Raises:
            ExecutorError: that cannot be found out now.
        """
        ...

    def submit(self, tasks: Sequence[Task], watcher: Watcher) -> list[Task]:
        """Send the tasks of one new array.

        Raises:
            ExecutorError: they are refused; the message says why and which setting to change.
        """
        ...

    def watch(self, tasks: Sequence[Task], watcher: Watcher) -> Generator[Outcome]:
        """Yield each task's outcome as soon as it ends."""
        ...

    def cancel(self, tasks: Sequence[Task], watcher: Watcher, *, wait: bool = False) -> None:
        """End tasks, queued or running; a task without `job` may have been submitted or not.

        Args:
            tasks: some tasks, of this run or of dead ones.
            watcher: is told what could not be ended.
            wait: return only when they are gone.
        """
        ...

    def close(self) -> None:
        """Give back what is held for the next items."""
        ...
