"""Running work items on this machine: a bounded pool of worker processes."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.worker import BUSY, LOG_NAME, PARENT_VARIABLE
from memo_assets.config import Study
from memo_assets.store.files import read_json, write_json

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10
LOG_LINES = 15
_VISION_MODULES = ["memo_assets.compute.steps", "memo_assets.training.vision"]
_LANGUAGE_MODULES = ["memo_assets.compute.steps", "memo_assets.models.tiny_llama", "peft"]

OnProgress = Callable[[WorkItem, Progress], None]


@dataclass(frozen=True)
class Outcome:
    """How one item ended.

    Attributes:
        item: the item.
        result: what the worker reported; its `error` is set if the item failed in any way.
        log: the worker's log file.
    """

    item: WorkItem
    result: ItemResult
    log: Path

    @property
    def log_end(self) -> str:
        """Last lines of the log."""
        lines = (
            self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        )
        return "\n".join(lines[-LOG_LINES:])


class Silent:
    """Watches running items and says nothing: the usual `observer` resource."""

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Do nothing."""


@dataclass
class _Worker:
    """A worker process that computes item after item.

    Attributes:
        process: the process.
        threads: CPU threads it may use, fixed when it starts.
        item: what it computes now; None while it is idle.
    """

    process: subprocess.Popen[str]
    threads: int
    item: WorkItem | None = None


class LocalExecutor:
    """Runs items in worker processes of this machine, as many side by side as the study says.

    Idle workers are kept for the next items and end with this process: what they import is imported once.
    """

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def warm_up(self, study: Study) -> None:
        """Start the workers of a study ahead of its first items; they import meanwhile what they will need."""
        modules = _LANGUAGE_MODULES if study.is_language else _VISION_MODULES
        while len(self._workers) < study.compute.workers:
            self._workers.append(_start(study.compute.threads, modules))

    def run(self, items: Sequence[WorkItem], on_progress: OnProgress | None = None) -> Iterator[Outcome]:
        """Yield every item's outcome as soon as it ends; closing the iterator ends the running workers.

        Args:
            items: items of one study and step.
            on_progress: called when a running item has got further.
        """
        waiting = deque(items)
        seen: dict[str, Progress] = {}
        try:
            while waiting or self._busy():
                while waiting and len(self._busy()) < waiting[0].study.compute.workers:
                    self._give(waiting.popleft())
                for worker in self._busy():
                    item = worker.item
                    assert item is not None
                    code = _answer(worker)
                    progress = _progress(item)
                    if on_progress and progress and progress != seen.get(item.key):
                        seen[item.key] = progress
                        on_progress(item, progress)
                    if code is not None:
                        worker.item = None
                        yield Outcome(item, _result(item, code), item.folder / LOG_NAME)
                time.sleep(_POLL_SECONDS)
        finally:
            _end([worker.process for worker in self._busy()])
            self._workers = [worker for worker in self._workers if worker.item is None]

    def close(self) -> None:
        """End all workers."""
        _end([worker.process for worker in self._workers])
        self._workers = []

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.item is not None]

    def _give(self, item: WorkItem) -> None:
        """Hand an item to an idle worker, or to a new one."""
        folder = item.folder
        folder.mkdir(parents=True, exist_ok=True)
        for old in ("result.json", "progress.json"):
            (folder / old).unlink(missing_ok=True)
        write_json(folder / "item.json", item.model_dump(mode="json"))
        gone = [worker for worker in self._workers if worker.process.poll() is not None]
        _end([worker.process for worker in gone])
        self._workers = [worker for worker in self._workers if worker not in gone]
        threads = item.study.compute.threads
        worker = next((w for w in self._workers if w.item is None and w.threads == threads), None)
        if worker is None:
            worker = _start(threads, [])
            self._workers.append(worker)
        assert worker.process.stdin is not None
        worker.item = item
        with contextlib.suppress(BrokenPipeError):  # it died just now: the end of its answers says so
            worker.process.stdin.write(f"{folder / 'item.json'}\n")
            worker.process.stdin.flush()


def _start(threads: int, modules: Sequence[str]) -> _Worker:
    count = str(threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "OMP_DYNAMIC": "false",
        "MKL_DYNAMIC": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        PARENT_VARIABLE: str(os.getpid()),
    }
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


def _progress(item: WorkItem) -> Progress | None:
    path = item.folder / "progress.json"
    return Progress.model_validate(read_json(path)) if path.is_file() else None


def _result(item: WorkItem, code: int) -> ItemResult:
    path = item.folder / "result.json"
    if path.is_file():
        return ItemResult.model_validate(read_json(path))
    if code == BUSY:
        return ItemResult(error=f"another worker is computing {item.key} right now: wait for it or end it")
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return ItemResult(error=f"the worker {reason} and left no result")


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
