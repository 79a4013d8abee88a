"""What becomes of the seeds that a run wants, by what the ledger says of each.

What belongs here: the decision alone; nothing is sent, cancelled or written. What does not: acting on it (`dispatch`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from memo_assets.compute.executor import Task
from memo_assets.compute.items import NO_SEED, ItemResult, WorkItem
from memo_assets.compute.ledger import Entry, Ledger, RunName
from memo_assets.compute.outcomes import Outcome, read_result
from memo_assets.store.files import read_json

Jobs = Mapping[tuple[str, int], str]


@dataclass
class Plan:
    """What becomes of the wanted seeds.

    Attributes:
        recorded: seeds that the run executed again has recorded already.
        finished: outcomes of items that ended while no run was there, by key of the item.
        finished_arrays: the arrays they were part of.
        refused: outcomes of seeds that a living run computes.
        running: tasks of dead runs, to be watched on, by key of the item.
        obsolete: tasks of dead runs whose result nobody wants any more, by key of the item.
        fresh: items to be sent.
    """

    recorded: list[int] = field(default_factory=list)
    finished: dict[str, Outcome] = field(default_factory=dict)
    finished_arrays: set[str] = field(default_factory=set)
    refused: list[Outcome] = field(default_factory=list)
    running: dict[str, Task] = field(default_factory=dict)
    obsolete: dict[str, Task] = field(default_factory=dict)
    fresh: list[WorkItem] = field(default_factory=list)


class Planner:
    """Decides seed by seed.

    Args:
        ledger: of the study and step.
        run: the run that wants the seeds.
    """

    def __init__(self, ledger: Ledger, run: RunName) -> None:
        self._ledger = ledger
        self._run = run
        self._entries: dict[int, Entry] = {}
        self._orphans: list[Entry] = []
        self._keys: dict[int, str] = {}

    def orphans(self, items: Sequence[WorkItem]) -> list[Entry]:
        """Entries of seeds under way whose run is dead; this run holds the claims on them from now on.

        Raises:
            ExecutorError: an entry is broken.
        """
        read = {unit: self._ledger.read(unit) for item in items for unit in item.units}
        self._entries = {unit: entry for unit, entry in read.items() if entry is not None}
        self._orphans = [
            entry for entry in self._entries.values() if entry.open and self._ledger.claim(entry.array)
        ]
        return self._orphans

    def plan(self, items: Sequence[WorkItem], there: Jobs) -> Plan:
        """Decide on all seeds of some items, after `orphans`.

        Args:
            items: the items as the run wants them.
            there: Slurm's id of the array by array and index, of orphans still queued or running.
        """
        plan = Plan()
        for item in items:
            self._keys |= item.unit_keys()
        changed = self._changed_tasks()
        arrays = {entry.array for entry in self._orphans}
        for item in items:
            rest: list[int] = []
            taken: dict[tuple[str, str | None], list[int]] = {}
            for unit in item.units:
                entry = self._entries.get(unit)
                if entry is None or entry.state == "failed":
                    rest.append(unit)
                elif entry.state == "recorded":
                    # a step without partitions must return a result, even if it had one before
                    skipped = bool(item.seeds) and self._is_recorded(unit, entry)
                    (plan.recorded if skipped else rest).append(unit)
                elif entry.array not in arrays:
                    taken.setdefault((entry.run.id, entry.task), []).append(unit)
                elif not self._goes_on(plan, item, unit, there, changed):
                    rest.append(unit)
            for other, units in taken.items():
                plan.refused.append(_refused(item.only(units) if item.seeds else item, *other))
            if rest:
                plan.fresh.append(item.only(rest) if item.seeds else item)
        return plan

    def _is_recorded(self, unit: int, entry: Entry) -> bool:
        """Whether the run that is executed again did this seed with the same settings and inputs."""
        same = entry.run.root == self._run.root and entry.unit_key == self._keys[unit]
        return same and self._output(unit).exists()

    def _changed_tasks(self) -> set[str]:
        """Keys of items under way of which a wanted seed has other settings or inputs by now."""
        return {entry.item for unit, entry in self._entries.items() if entry.unit_key != self._keys[unit]}

    def _goes_on(self, plan: Plan, item: WorkItem, unit: int, there: Jobs, changed: set[str]) -> bool:
        """Whether an orphan needs no new item: its result is there, or its task goes on.

        A task of which only some seeds have changed is given up as a whole: two must not write the same seed.
        """
        entry = self._entries[unit]
        folder = self._ledger.layout.work / entry.item
        sent, result = _sent(folder), read_result(folder)
        same = entry.unit_key == self._keys[unit]
        good = result is not None and not result.error and self._output(unit).exists()
        if same and sent is not None and result is not None and good:
            one = plan.finished.setdefault(entry.item, Outcome(sent, result, None))
            plan.finished[entry.item] = replace(one, units=(*one.units, unit))
            plan.finished_arrays.add(entry.array)
            return True
        job = there.get((entry.array, entry.index))
        if job is None or result is not None:
            return False
        wanted = sent is not None and entry.item not in changed
        tasks = plan.running if wanted else plan.obsolete
        task = tasks.get(entry.item) or Task(
            sent or item, self._ledger.arrays / entry.array, entry.index, job
        )
        tasks[entry.item] = replace(task, units=(*task.units, unit))
        return wanted

    def _output(self, unit: int) -> Path:
        step = self._ledger.step
        return self._ledger.layout.output(step, None if unit == NO_SEED else unit)


def _sent(folder: Path) -> WorkItem | None:
    """The item as it was sent; None if it is gone or was written by a version with other settings."""
    try:
        return WorkItem.model_validate(read_json(folder / "item.json"))
    except (OSError, ValueError):
        return None


def _refused(item: WorkItem, run: str, task: str | None) -> Outcome:
    where = f", Slurm job {task}" if task else ""
    sentence = (
        f"{item.study.name}/{item} is being computed by run {run}{where}: wait for that run, or cancel it and "
        "materialize again"
    )
    return Outcome(item, ItemResult(error=sentence), None)
