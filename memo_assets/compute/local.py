"""Running work items on this machine: a bounded pool of worker processes."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.worker import PARENT_VARIABLE
from memo_assets.store.files import read_json, write_json

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10
LOG_LINES = 15

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


class LocalExecutor:
    """Runs items in worker processes of this machine, as many side by side as the study says."""

    def run(self, items: Sequence[WorkItem], on_progress: OnProgress | None = None) -> Iterator[Outcome]:
        """Yield every item's outcome as soon as it ends; closing the iterator ends the running workers.

        Args:
            items: items of one study and step.
            on_progress: called when a running item has got further.
        """
        waiting = deque(items)
        running: dict[subprocess.Popen, WorkItem] = {}
        seen: dict[str, Progress] = {}
        try:
            while waiting or running:
                while waiting and len(running) < waiting[0].study.compute.workers:
                    item = waiting.popleft()
                    running[_start(item)] = item
                for process, item in list(running.items()):
                    ended = process.poll() is not None
                    progress = _progress(item)
                    if on_progress and progress and progress != seen.get(item.key):
                        seen[item.key] = progress
                        on_progress(item, progress)
                    if ended:
                        del running[process]
                        yield Outcome(item, _result(item, process.returncode), item.folder / "log.txt")
                time.sleep(_POLL_SECONDS)
        finally:
            _end(list(running))


def _start(item: WorkItem) -> subprocess.Popen:
    folder = item.folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("result.json", "progress.json"):
        (folder / old).unlink(missing_ok=True)
    write_json(folder / "item.json", item.model_dump(mode="json"))
    threads = str(item.study.compute.threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_DYNAMIC": "false",
        "MKL_DYNAMIC": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        PARENT_VARIABLE: str(os.getpid()),
    }
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "memo_assets.compute.worker", str(folder / "item.json")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _progress(item: WorkItem) -> Progress | None:
    path = item.folder / "progress.json"
    return Progress.model_validate(read_json(path)) if path.is_file() else None


def _result(item: WorkItem, code: int) -> ItemResult:
    path = item.folder / "result.json"
    if path.is_file():
        return ItemResult.model_validate(read_json(path))
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return ItemResult(error=f"the worker {reason} and left no result")


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
