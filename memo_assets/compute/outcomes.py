"""What is told of running work items: progress, logs, states of the queue, and how each ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.store.files import read_json

LOG_LINES = 15


@dataclass(frozen=True)
class Outcome:
    """How one item ended.

    Attributes:
        item: the item.
        result: what the worker reported; its `error` is set if the item failed in any way.
        log: the worker's log file; None if it was never sent to a worker, or by another run.
        units: the seeds (or NO_SEED) that were wanted of it; all of them if none is named.
    """

    item: WorkItem
    result: ItemResult
    log: Path | None
    units: tuple[int, ...] = ()

    @property
    def wanted(self) -> list[int]:
        """The seeds (or NO_SEED) that were wanted of it."""
        return list(self.units or self.item.units)

    @property
    def log_end(self) -> str:
        """Last lines of the log."""
        return log_end(self.log)


class StateWatcher(Protocol):
    """Is told what happens around the items."""

    def on_state(self, text: str) -> None:
        """Something worth knowing: what was submitted, what waits and why, what goes on where."""
        ...


class Watcher(StateWatcher, Protocol):
    """Is told what running items do."""

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """A running item has got further."""
        ...

    def on_log(self, item: WorkItem, text: str) -> None:
        """The worker has logged some lines."""
        ...


class Silent:
    """A watcher that says nothing."""

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Do nothing."""

    def on_log(self, item: WorkItem, text: str) -> None:
        """Do nothing."""

    def on_state(self, text: str) -> None:
        """Do nothing."""


def read_result(folder: Path) -> ItemResult | None:
    """The result of the item of a work folder; None if it is not there or broken, and so to be done again."""
    try:
        result = ItemResult.model_validate(read_json(folder / "result.json"))
    except (OSError, ValueError):
        return None
    return result if result.seeds or result.error else None  # a worker reports one or the other


def read_progress(folder: Path) -> Progress | None:
    """How far the running item of a work folder is; None as long as it has not said, or if that cannot be read."""
    try:
        return Progress.model_validate(read_json(folder / "progress.json"))
    except (OSError, ValueError):
        return None


def log_end(log: Path | None) -> str:
    """Last lines of a log file; empty if there is none."""
    if log is None or not log.is_file():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


class LogTail:
    """Reads what a log file has gained since the last look, whole lines only.

    Args:
        path: the file; it may appear later.
        from_start: whether what it holds already counts as new.
    """

    _MOST_BYTES = 64_000

    def __init__(self, path: Path, *, from_start: bool = True) -> None:
        self.path = path
        self._offset = 0 if from_start or not path.is_file() else path.stat().st_size

    def read(self, *, rest: bool = False) -> str:
        """New lines without the last line break; of a flood only the end.

        Args:
            rest: also take a last line that has not ended.
        """
        try:
            size = self.path.stat().st_size
            if size < self._offset:  # begun anew
                self._offset = 0
            if size == self._offset:
                return ""
            start = max(self._offset, size - self._MOST_BYTES)
            with self.path.open("rb") as stream:
                stream.seek(start)
                content = stream.read(size - start)
        except OSError:
            return ""
        skipped = start - self._offset
        if not rest and (not skipped or b"\n" in content):
            content = content[: content.rfind(b"\n") + 1]
        self._offset = start + len(content)
        text = content.decode("utf-8", errors="replace").rstrip("\n")
        return f"... {skipped} bytes left out ...\n{text}" if skipped and text else text
