"""Running work items on this machine: a bounded pool of worker processes."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Task
from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.ledger import Entry, ExecutorName
from memo_assets.compute.outcomes import LogTail, Outcome, Watcher, read_progress, read_result
from memo_assets.compute.slurm.queue import SlurmQueue
from memo_assets.compute.threads import thread_variables
from memo_assets.compute.worker import BUSY, LOG_NAME, PARENT_VARIABLE
from memo_assets.config import Study

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10
_VISION_MODULES = ["memo_assets.compute.steps", "memo_assets.training.vision"]
_LANGUAGE_MODULES = ["memo_assets.compute.steps", "memo_assets.models.tiny_llama", "peft"]


@dataclass
class _Worker:
    """A worker process that computes item after item.

    Attributes:
        process: the process.
        threads: CPU threads it may use, fixed when it starts.
        item: what it computes now; None while it is idle.
        log: the log of its item.
    """

    process: subprocess.Popen[str]
    threads: int
    item: WorkItem | None = None
    log: LogTail | None = None


class LocalExecutor:
    """Runs items in worker processes of this machine, as many side by side as the study says.

    Idle workers are kept for the next items and end with this process: what they import is imported once.
    """

    name: ExecutorName = "local"

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def warm_up(self, study: Study) -> None:
        """Start the workers of a study ahead of its first items; they import meanwhile what they will need."""
        modules = _LANGUAGE_MODULES if study.is_language else _VISION_MODULES
        while len(self._workers) < study.compute.workers:
            self._workers.append(_start(study.compute.threads, modules))

    def prepare(self, items: Sequence[WorkItem], watcher: Watcher) -> None:
        """Nothing is needed beside this machine."""

    def still_there(self, entries: Sequence[Entry], watcher: Watcher) -> dict[tuple[str, int], str]:  # noqa: ARG002
        """Workers end with the run that started them; only tasks that Slurm was given may still be there.

        Raises:
            ExecutorError: Slurm has tasks for these seeds, or does not say.
        """
        tasks = sorted({str(entry.task) for entry in entries if entry.executor == "slurm" and entry.job})
        if not tasks or not SlurmQueue.is_here():
            return {}
        there = SlurmQueue().living(tasks)
        if there is None or there:
            raise ExecutorError(
                f"Slurm was given these seeds by an earlier run, and {'does not answer' if there is None else 'still has'} "
                f"{', '.join(sorted(there or tasks))}: set MEMO_EXECUTOR=slurm to go on with them, or end them with scancel first"
            )
        return {}

    def submit(self, tasks: Sequence[Task], watcher: Watcher) -> list[Task]:
        """Nothing is sent before somebody watches."""
        watcher.on_state(
            f"{len(tasks)} work items, {sum(len(task.item.seeds) for task in tasks)} split seeds, on this machine"
        )
        return list(tasks)

    def watch(self, tasks: Sequence[Task], watcher: Watcher) -> Generator[Outcome]:
        """Yield every item's outcome as soon as it ends; closing the iterator ends the running workers."""
        waiting = deque(task.item for task in tasks)
        seen: dict[str, Progress] = {}
        try:
            while waiting or self._busy():
                while waiting and len(self._busy()) < waiting[0].study.compute.workers:
                    self._give(waiting.popleft())
                for worker in self._busy():
                    item, log = worker.item, worker.log
                    assert item is not None
                    assert log is not None
                    code = _answer(worker)
                    progress = read_progress(log.path.parent)
                    if progress and progress != seen.get(item.key):
                        seen[item.key] = progress
                        watcher.on_progress(item, progress)
                    if lines := log.read(rest=code is not None):
                        watcher.on_log(item, lines)
                    if code is not None:
                        worker.item = None
                        yield Outcome(item, _result(item, code), log.path)
                time.sleep(_POLL_SECONDS)
        finally:
            _end([worker.process for worker in self._busy()])
            self._workers = [worker for worker in self._workers if worker.item is None]

    def cancel(self, tasks: Sequence[Task], watcher: Watcher, *, wait: bool = False) -> None:
        """Workers have ended with the iterator of `watch`."""

    def close(self) -> None:
        """End all workers."""
        _end([worker.process for worker in self._workers])
        self._workers = []

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.item is not None]

    def _give(self, item: WorkItem) -> None:
        """Hand an item to an idle worker, or to a new one."""
        gone = [worker for worker in self._workers if worker.process.poll() is not None]
        _end([worker.process for worker in gone])
        self._workers = [worker for worker in self._workers if worker not in gone]
        threads = item.study.compute.threads
        worker = next((w for w in self._workers if w.item is None and w.threads == threads), None)
        if worker is None:
            worker = _start(threads, [])
            self._workers.append(worker)
        assert worker.process.stdin is not None
        worker.item, worker.log = item, LogTail(item.folder / LOG_NAME, from_start=False)
        with contextlib.suppress(BrokenPipeError):  # it died just now: the end of its answers says so
            worker.process.stdin.write(f"{item.folder / 'item.json'}\n")
            worker.process.stdin.flush()


def _start(threads: int, modules: Sequence[str]) -> _Worker:
    environment = {**os.environ, **thread_variables(threads), PARENT_VARIABLE: str(os.getpid())}
    process = subprocess.Popen(
        [sys.executable, "-m", "memo_assets.compute.worker", "--serve", *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    return _Worker(process, threads)


def _answer(worker: _Worker) -> int | None:
    """Exit code of the worker's item, None while it is running; that of the process if it died."""
    assert worker.process.stdout is not None
    if select.select([worker.process.stdout], [], [], 0)[0]:
        line = worker.process.stdout.readline()
        return int(line) if line else worker.process.wait()
    return None


def _result(item: WorkItem, code: int) -> ItemResult:
    if (result := read_result(item.folder)) is not None:
        return result
    if code == BUSY:
        return ItemResult(
            error=f"another worker is computing {item.study.name}/{item} right now: wait for it or end it"
        )
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    # The kernel kills so when memory runs out, perhaps by the doing of others; any other signal is a bug or a wish.
    return ItemResult(error=f"the worker {reason} and left no result", lost=code == -signal.SIGKILL)


def _end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
