"""Telling a run's log and compute log what the executor's tasks do, and the resources that decide where they run."""

import dagster as dg
from dagster import IAttachDifferentObjectToOpContext
from pydantic import PrivateAttr

from memo_assets.compute.choice import chosen_kind, make_executor
from memo_assets.compute.executor import Executor
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.outcomes import Watcher


class ExecutorResource(dg.ConfigurableResource, IAttachDifferentObjectToOpContext):
    """Where GPU-bound assets compute: `local` (worker processes of this machine) or `slurm`; by default MEMO_EXECUTOR."""

    kind: str = ""

    _made: dict[str, Executor] = PrivateAttr(default_factory=dict)

    def get_object_to_set_on_execution_context(self) -> Executor:
        """The executor; one for all steps of this process, since it keeps workers between them.

        Raises:
            ExecutorError: no such kind.
        """
        kind = chosen_kind(self.kind)
        if kind not in self._made:
            self._made[kind] = make_executor(kind)
        return self._made[kind]


class ComputeLog:
    """The usual `observer`: what workers log goes to the step's compute log, which the web UI shows live."""

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Nothing: the run's log has it."""

    def on_log(self, item: WorkItem, text: str) -> None:
        """Print the worker's lines, each with its seeds."""
        print("\n".join(f"[{item}] {line}" for line in text.splitlines()), flush=True)  # noqa: T201

    def on_state(self, text: str) -> None:
        """Nothing: the run's log has it."""


class RunLog:
    """A watcher that writes to a run's log, progress at most every ten percent of each item, and tells the observer.

    Args:
        log: of the running step.
        observer: told too, everything.
    """

    def __init__(self, log: dg.DagsterLogManager, observer: Watcher) -> None:
        self._log = log
        self._observer = observer
        self._tenths: dict[str, int] = {}

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Log every tenth."""
        tenth = 10 * progress.done // max(progress.total, 1)
        if tenth > self._tenths.get(item.key, 0):
            self._tenths[item.key] = tenth
            self._log.info(f"{item}: {progress.done} of {progress.total} {progress.unit}")
        self._observer.on_progress(item, progress)

    def on_log(self, item: WorkItem, text: str) -> None:
        """Log the worker's lines as one message."""
        self._log.info(f"log of {item}:\n{text}")
        self._observer.on_log(item, text)

    def on_state(self, text: str) -> None:
        """Log it."""
        self._log.info(text)
        self._observer.on_state(text)
