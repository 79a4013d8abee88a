"""From the items a run wants to their outcomes: what is done or under way already is taken up, the rest is sent.

What belongs here: acting on the plan, and cleaning up whatever happens. What does not: the decision for each split
seed (`planning`), how work is sent (`local`, `slurm`), how outcomes are recorded (the assets).
"""

import contextlib
import uuid
from collections.abc import Generator, Sequence
from dataclasses import replace

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Executor, Task
from memo_assets.compute.items import WorkItem, seeds_in_words
from memo_assets.compute.ledger import Entry, Ledger, RunName
from memo_assets.compute.outcomes import Outcome, Watcher
from memo_assets.compute.planning import Plan, Planner

_TASKS_PER_ARRAY = 1000  # Slurm's usual limit, MaxArraySize, is 1001


class Dispatch:
    """Computes items of one study and step for one run.

    Seeds that a dead run sent are not sent again: their results are taken up, their tasks watched on. Seeds that a
    living run computes end at once with an error. Seeds that the run recorded in an earlier attempt have no outcome.

    Args:
        executor: where to compute.
        ledger: of the study and step.
        run: the run that wants the items.
        watcher: is told what happens.
    """

    def __init__(self, executor: Executor, ledger: Ledger, run: RunName, watcher: Watcher) -> None:
        self._executor = executor
        self._ledger = ledger
        self._run = run
        self._watcher = watcher
        self._tasks: dict[str, Task] = {}  # by key of the item

    def outcomes(self, items: Sequence[WorkItem]) -> Generator[Outcome]:
        """Yield each item's outcome as soon as it is there; closing the iterator cancels what has not ended.

        Args:
            items: no seed twice.

        Raises:
            ExecutorError: nothing can be sent, or an entry of the ledger is broken.
        """
        try:
            self._executor.prepare(items, self._watcher)
            with self._ledger.planning():
                plan = self._plan(items)
                for start in range(0, len(plan.fresh), _TASKS_PER_ARRAY):
                    self._send(plan.fresh[start : start + _TASKS_PER_ARRAY])
            yield from plan.refused
            yield from plan.finished.values()
            with contextlib.closing(
                self._executor.watch(list(self._tasks.values()), self._watcher)
            ) as outcomes:
                for outcome in outcomes:
                    task = self._tasks.pop(outcome.item.key)
                    if outcome.result.error:
                        self._ledger.mark(outcome.item, "failed", self._run)
                    yield replace(outcome, units=task.units)
        finally:
            self._executor.cancel(list(self._tasks.values()), self._watcher)
            self._ledger.release()

    def _plan(self, items: Sequence[WorkItem]) -> Plan:
        """Decide, take over what goes on, end what nobody wants any more."""
        planner = Planner(self._ledger, self._run)
        orphans = planner.orphans(items)
        plan = planner.plan(items, self._executor.still_there(orphans, self._watcher) if orphans else {})
        self._tell(plan)
        self._executor.cancel(list(plan.obsolete.values()), self._watcher, wait=True)
        self._tasks |= plan.running
        kept = {task.folder.name for task in self._tasks.values()} | plan.finished_arrays
        self._ledger.release(but=kept)
        self._ledger.forget_old_arrays()
        for task in self._tasks.values():
            self._ledger.mark(task.item, "submitted", self._run)
        for outcome in plan.finished.values():
            self._ledger.mark(outcome.item, "submitted", self._run, units=outcome.units)
        return plan

    def _tell(self, plan: Plan) -> None:
        name = f"{self._ledger.layout.study}/{self._ledger.step}"
        if plan.recorded:
            seeds = seeds_in_words(sorted(plan.recorded))
            self._watcher.on_state(f"{name}: {seeds} recorded by the run that is executed again")
        for outcome in plan.finished.values():
            self._watcher.on_state(f"{outcome.item}: finished while no run was there, taken up")
        for task in plan.running.values():
            self._watcher.on_state(f"{task.item}: still in Slurm job {task.id}, watched on")
        for task in plan.obsolete.values():
            self._watcher.on_state(f"{task.item}: Slurm job {task.id} works with old settings, cancelled")

    def _send(self, items: list[WorkItem]) -> None:
        """Claim and send one array of items."""
        array = f"{items[0].study.name}-{items[0].step}-{uuid.uuid4().hex[:12]}"
        self._ledger.claim(array)
        folder = self._ledger.begin_array(array, items)
        entries = {
            unit: Entry(
                unit_key=unit_key,
                item=item.key,
                state="claimed",
                executor=self._executor.name,
                array=array,
                index=index,
                run=self._run,
            )
            for index, item in enumerate(items)
            for unit, unit_key in item.unit_keys().items()
        }
        self._ledger.write(entries)
        tasks = [Task(item, folder, index) for index, item in enumerate(items)]
        keys = [item.key for item in items]
        self._tasks |= dict(zip(keys, tasks, strict=True))
        try:
            tasks = self._executor.submit(tasks, self._watcher)
        except ExecutorError:
            for key, item in zip(keys, items, strict=True):
                del self._tasks[key]
                self._ledger.mark(item, "failed", self._run)
            raise
        self._tasks |= dict(zip(keys, tasks, strict=True))
        job = tasks[0].job
        if job is not None:
            sent = {"state": "submitted", "job": job}
            self._ledger.write({unit: entry.model_copy(update=sent) for unit, entry in entries.items()})
