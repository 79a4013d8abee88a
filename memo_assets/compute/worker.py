"""`python -m memo_assets.compute.worker ITEM.json`: compute one work item and write its result.

Never imports Dagster. Ends with code 0 and a result without error, or with code 1 and a result that names it. With
`--serve` instead of a file it computes item after item, named on standard input one a line, and answers each with its
code: importing torch and transformers takes longer than many an item. What an item prints goes to its log either way.
"""

import contextlib
import fcntl
import importlib
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.graph import code_versions
from memo_assets.store.files import write_json

_PROGRESS_EVERY_SECONDS = 0.5
PARENT_VARIABLE = "MEMO_PARENT_PID"
LOG_NAME = "log.txt"
BUSY = 3


class StaleItemError(RuntimeError):
    """The item was made by another version of the code than this worker runs."""


class ProgressFile:
    """Writes the item's progress at most twice a second."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "progress.json"
        self._last = 0.0

    def __call__(self, done: int, total: int, unit: str = "steps") -> None:
        """Record that `done` of `total` units are done."""
        now = time.monotonic()
        if done >= total or now - self._last > _PROGRESS_EVERY_SECONDS:
            self._last = now
            write_json(self._path, Progress(done=done, total=total, unit=unit).model_dump())


def main(item_path: Path) -> int:
    """Run one item.

    Args:
        item_path: the item's JSON file, in its work folder.

    Returns:
        Exit code: 0 done, 1 failed, 3 another worker has the item.
    """
    item = WorkItem.model_validate_json(item_path.read_text(encoding="utf-8"))
    folder = item_path.parent
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another worker is computing {item.key} right now; wait for it or end it", file=sys.stderr)  # noqa: T201
            return BUSY
        started = time.monotonic()
        _reset_peak_memory()
        try:
            result = _run(item, folder)
        except Exception as error:  # noqa: BLE001 - the last line of defence: the submitter must hear of it
            traceback.print_exc()
            result = ItemResult(error=_sentence(error))
        result = result.model_copy(
            update={
                "seconds": round(time.monotonic() - started, 3),
                "peak_memory_bytes": _peak_memory_bytes(),
            }
        )
        try:
            write_json(folder / "result.json", result.model_dump(mode="json"))
        except OSError as error:
            print(f"the result cannot be written: {_sentence(error)}", file=sys.stderr)  # noqa: T201
            return 1
        if result.error is None:
            for leftover in (folder / "state", folder / "made"):
                shutil.rmtree(leftover, ignore_errors=True)
    return 0 if result.error is None else 1


def _run(item: WorkItem, folder: Path) -> ItemResult:
    own = code_versions(item.study)[item.step]
    if own != item.code_version:
        raise StaleItemError(
            f"this worker runs code version {own} of {item.study.name}/{item.step}, the item was made by "
            f"{item.code_version}: reload the code location and materialize again"
        )
    from memo_assets.compute import steps

    return ItemResult(seeds=steps.STEPS[item.step](item, ProgressFile(folder)))


def _sentence(error: Exception) -> str:
    """An error as one line: the message for errors meant for users, else with the type's name."""
    message = str(error).strip() or "no message"
    return (
        message if isinstance(error, (ValueError, StaleItemError)) else f"{type(error).__name__}: {message}"
    )


def _end_with_parent() -> None:
    """End when the submitter is gone (killed with -9), so that a rerun finds no second writer."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(0.5)
        os._exit(4)

    threading.Thread(target=watch, daemon=True).start()


def _reset_peak_memory() -> None:
    """Let the kernel count the peak anew (Linux; elsewhere the peak is that of the process)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory_bytes() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(modules: Sequence[str]) -> None:
    """Compute the items named on standard input until it ends; answer each with its exit code, one a line.

    Args:
        modules: imported first, ahead of the first item.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an import prints is no answer
        for module in modules:
            importlib.import_module(module)
        for line in sys.stdin:
            item_path = Path(line.removesuffix("\n"))
            with (item_path.parent / LOG_NAME).open("ab") as log:
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                    os.dup2(log.fileno(), stream.fileno())
            print(main(item_path), file=answers, flush=True)


if __name__ == "__main__":
    _end_with_parent()
    if sys.argv[1] == "--serve":
        serve(sys.argv[2:])
    else:
        sys.exit(main(Path(sys.argv[1])))
