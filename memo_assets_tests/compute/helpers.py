"""What tests of work items share: a watcher that remembers, tasks as they are sent, and other processes."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memo_assets.compute.executor import Task
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.ledger import Ledger

_LOCKING = """
import sys
from memo_assets.compute.items import WorkItem
from memo_assets.compute.locks import seeds_locked
with seeds_locked(WorkItem.model_validate_json(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@dataclass
class Seen:
    """A watcher that remembers what it is told.

    Attributes:
        states: of the queue.
        progress: of each item, by key.
        logs: by key of the item, as told.
    """

    states: list[str] = field(default_factory=list)
    progress: dict[str, list[Progress]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)

    def on_state(self, text: str) -> None:
        self.states.append(text)

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        self.progress.setdefault(item.key, []).append(progress)

    def on_log(self, item: WorkItem, text: str) -> None:
        self.logs.setdefault(item.key, []).append(text)


def tasks(items: Sequence[WorkItem]) -> list[Task]:
    """Items of one array, written to their folders as a run does that sends them."""
    folder = Ledger(items[0].layout, items[0].step).begin_array("array", list(items))
    return [Task(item, folder, index) for index, item in enumerate(items)]


@contextmanager
def another_process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a script, from when it prints `ready` on; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def another_worker(given: WorkItem) -> Iterator[subprocess.Popen[str]]:
    """A worker that computes all seeds of an item and does not end; locks of one process never conflict."""
    with another_process(_LOCKING, given.model_dump_json()) as process:
        yield process


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which a container's first process may leave unburied."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
