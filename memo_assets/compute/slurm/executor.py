"""Running work items as one Slurm array, watched by squeue and by the files that the tasks write.

What belongs here: sending, watching and cancelling tasks. What does not: which items to send (`dispatch`), the batch
script (`script`), Slurm's commands (`queue`), what an end without a result means (`endings`).
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Task
from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.ledger import Entry, ExecutorName
from memo_assets.compute.outcomes import LogTail, Outcome, Watcher, read_progress
from memo_assets.compute.slurm import script
from memo_assets.compute.slurm.endings import may_pass, why_no_result
from memo_assets.compute.slurm.probe import check_nodes
from memo_assets.compute.slurm.queue import GONE, SlurmQueue, TaskState
from memo_assets.compute.slurm.settings import slurm_settings
from memo_assets.config import Study

_LOOK_SECONDS = 0.5
_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 1.0, 15.0
_GRACE_SECONDS = 6.0  # a network file system may show a result later than squeue shows the end
_PATIENCE_SECONDS = 600.0  # with a controller that does not answer, where going on needs its answer
_NOT_ANSWERING = ("Unable to contact", "timed out", "Zero Bytes", "connect failure", "Connection refused")

_UNKNOWN = TaskState("PENDING")  # until squeue is first asked

Answer = TypeVar("Answer")


@dataclass
class _Watched:
    """A task that is watched.

    Attributes:
        task: the task.
        log: its log.
        folder: of its item.
        state: as squeue last told.
        progress: as the worker last told.
        ended_at: when it was first seen to have ended without a result; None before.
    """

    task: Task
    log: LogTail
    folder: Path
    state: TaskState = _UNKNOWN
    progress: Progress | None = None
    ended_at: float | None = None


@dataclass
class _Poll:
    """When to ask squeue next: seldom where nothing changes."""

    wait: float = _FIRST_POLL_SECONDS
    next: float = field(default_factory=time.monotonic)

    def asked(self, *, changed: bool) -> None:
        """Squeue was asked just now."""
        self.wait = _FIRST_POLL_SECONDS if changed else min(self.wait * 1.5, _LAST_POLL_SECONDS)
        self.next = time.monotonic() + self.wait


class SlurmExecutor:
    """Sends items as arrays of tasks; see `Executor` for the contract."""

    name: ExecutorName = "slurm"

    def __init__(self) -> None:
        self._queue = SlurmQueue()

    def warm_up(self, study: Study) -> None:
        """Nothing can be started ahead."""

    def prepare(self, items: Sequence[WorkItem], watcher: Watcher) -> None:
        """Check that Slurm is here and that its nodes see the warehouse and run this code; see `Executor`."""
        if items:
            item = items[0]
            check_nodes(slurm_settings(item.study, item.step), item.warehouse, self._queue, watcher)

    def still_there(self, entries: Sequence[Entry], watcher: Watcher) -> dict[tuple[str, int], str]:
        """Tasks still queued or running; of those whose submission was cut short, by the name of the job."""
        ours = [entry for entry in entries if entry.executor == "slurm"]
        job_of = {entry.array: entry.job for entry in ours}
        states = self._ask(partial(self._queue.states, [job for job in job_of.values() if job]), watcher)
        for array in [array for array, job in job_of.items() if job is None]:
            name = _job_name(array)
            named = self._ask(partial(self._queue.states_named, name), watcher)
            job_of[array] = next((task.partition("_")[0] for task in named), None)
            states |= named
        tasks = {(entry.array, entry.index): job_of[entry.array] for entry in ours}
        return {
            place: job
            for place, job in tasks.items()
            if job is not None and (state := states.get(f"{job}_{place[1]}")) is not None and not state.ended
        }

    def submit(self, tasks: Sequence[Task], watcher: Watcher) -> list[Task]:
        """Send the tasks as one array; see `Executor`."""
        item, folder = tasks[0].item, tasks[0].folder
        settings = slurm_settings(item.study, item.step)
        name = _job_name(folder.name)
        text = script.array_script(
            settings, folder, name=name, tasks=len(tasks), threads=item.study.compute.threads
        )
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                job = script.sbatch(text, folder)
                break
            except ExecutorError as error:
                if not any(words in str(error) for words in _NOT_ANSWERING) or time.monotonic() > until:
                    raise script.refusal(f"{item.study.name}/{item.step}", error, settings) from error
                watcher.on_state(f"Slurm's controller does not answer ({error}); trying again")
                time.sleep(_LAST_POLL_SECONDS / 3)
                named = self._ask(partial(self._queue.states_named, name), watcher)
                if named:  # the answer was lost, not the job
                    job = next(iter(named)).partition("_")[0]
                    break
        seeds = sum(len(task.item.seeds) for task in tasks)
        watcher.on_state(f"Slurm array {job}: {len(tasks)} tasks, {seeds} split seeds, in {folder}")
        return [task.with_job(job) for task in tasks]

    def watch(self, tasks: Sequence[Task], watcher: Watcher) -> Generator[Outcome]:
        """Yield each task's outcome as soon as its result is there or Slurm says that none will come."""
        watched: dict[str, _Watched] = {}
        for task in tasks:
            assert task.id is not None
            assert task.job is not None
            log = LogTail(script.log_path(task.folder, task.job, task.index))
            watched[task.id] = _Watched(task, log, task.item.folder)
        poll, told, done, answering = _Poll(), "", 0, True
        while watched:
            for key, one in list(watched.items()):
                if one.state.waits and answering:
                    continue  # of a thousand tasks most wait: their files need not be looked for
                if (outcome := self._look(one, watcher)) is not None:
                    del watched[key]
                    done += 1
                    yield outcome
            if watched and time.monotonic() >= poll.next:
                states = self._queue.states({str(one.task.job) for one in watched.values()})
                if (states is not None) != answering:
                    answering = states is not None
                    watcher.on_state(
                        "Slurm's controller answers again"
                        if answering
                        else "Slurm's controller does not answer; going on with what was known"
                    )
                if states is not None:
                    for key, one in watched.items():
                        one.state = states.get(key, TaskState(GONE))
                summary = _summary(watched, done)
                poll.asked(changed=summary != told)
                if summary != told:
                    told = summary
                    watcher.on_state(summary)
            time.sleep(_LOOK_SECONDS)

    def cancel(self, tasks: Sequence[Task], watcher: Watcher, *, wait: bool = False) -> None:
        """Cancel tasks; those whose submission was cut short by the name of the job."""
        known = sorted({task.id for task in tasks if task.id})
        names = sorted({_job_name(task.folder.name) for task in tasks if not task.id})
        commands = [[f"--name={name}"] for name in names] + ([known] if known else [])
        for command in commands:
            if error := self._scancel(command):
                watcher.on_state(
                    f"tasks could not be cancelled ({error}): run `scancel {' '.join(command)}` yourself"
                )
        until = time.monotonic() + _PATIENCE_SECONDS
        while wait and known and self._ask(partial(self._queue.living, known), watcher):
            if time.monotonic() > until:
                raise ExecutorError(f"Slurm tasks {', '.join(known)} do not end: see `squeue -j {known[0]}`")
            time.sleep(_FIRST_POLL_SECONDS)

    def close(self) -> None:
        """Nothing is held."""

    def _scancel(self, arguments: list[str]) -> str | None:
        """What scancel complained of, three times; what has ended already is none of it."""
        error = None
        for attempt in range(3):
            error = self._queue.cancel(*arguments)
            if error is None or "Invalid job id" in error:
                return None
            time.sleep(attempt)
        return error

    def _look(self, one: _Watched, watcher: Watcher) -> Outcome | None:
        """Tell what is new of a task; its outcome if it has ended."""
        item = one.task.item
        result, broken = _result(one.folder)
        progress = read_progress(one.folder)
        if progress and progress != one.progress:
            one.progress = progress
            watcher.on_progress(item, progress)
        if result is None and one.state.ended:
            one.ended_at = one.ended_at or time.monotonic()
            if time.monotonic() - one.ended_at > _GRACE_SECONDS:
                result = ItemResult(error=broken, job=one.task.id) if broken else self._no_result(one)
        elif result is None:
            one.ended_at = None  # queued again
        if lines := one.log.read(rest=result is not None):
            watcher.on_log(item, lines)
        return None if result is None else Outcome(item, result, one.log.path)

    def _no_result(self, one: _Watched) -> ItemResult:
        assert one.task.id is not None
        accounted = self._queue.accounted([one.task.id]).get(one.task.id)
        state = TaskState(accounted.split()[0]) if accounted else one.state
        error = why_no_result(one.task, state, slurm_settings(one.task.item.study, one.task.item.step))
        return ItemResult(error=error, lost=may_pass(state), job=one.task.id)

    def _ask(self, question: Callable[[], Answer | None], watcher: Watcher) -> Answer:
        """Ask until the controller answers.

        Raises:
            ExecutorError: it does not for ten minutes.
        """
        until, wait = time.monotonic() + _PATIENCE_SECONDS, _FIRST_POLL_SECONDS
        while (answer := question()) is None:
            if time.monotonic() > until:
                raise ExecutorError("Slurm's controller has not answered for ten minutes: try again later")
            watcher.on_state("Slurm's controller does not answer; waiting for it")
            time.sleep(wait)
            wait = min(wait * 2, _LAST_POLL_SECONDS)
        return answer


def _job_name(array: str) -> str:
    return f"memo-{array}"


def _result(folder: Path) -> tuple[ItemResult | None, str]:
    """The result if there is one, and what is wrong with its file if that is broken."""
    path = folder / "result.json"
    try:
        return ItemResult.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as error:
        return (
            None,
            f"its result {path} cannot be read ({str(error).splitlines()[0]}): materialize these seeds again",
        )


def _summary(watched: dict[str, _Watched], done: int) -> str:
    """One line for all tasks: how many are in which state, and which run."""
    arrays = sorted({str(one.task.job) for one in watched.values()})
    counts = Counter(str(one.state) for one in watched.values())
    parts = [f"{count} {state}" for state, count in sorted(counts.items())]
    running = [f"{key} ({one.task.item})" for key, one in watched.items() if one.state.state == "RUNNING"]
    which = f"; running: {', '.join(running[:8])}" + (" ..." if len(running) > 8 else "") if running else ""
    return f"Slurm array {', '.join(arrays)}: {', '.join([*parts, f'{done} done'])}{which}"
