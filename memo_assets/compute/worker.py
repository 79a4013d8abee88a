"""`python -m memo_assets.compute.worker ITEM.json`: compute one work item and write its result.

Never imports Dagster. Ends with code 0 and a result without error, or with code 1 and a result that names it. With
`--serve` instead of a file it computes item after item, named on standard input one a line, and answers each with its
code: importing torch and transformers takes longer than many an item. What an item prints goes to its log either way.
"""

import importlib
import os
import platform
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.locks import Busy, seeds_locked
from memo_assets.compute.memory import peak_memory_bytes, reset_peak_memory
from memo_assets.compute.outcomes import read_result
from memo_assets.compute.reporting import say
from memo_assets.compute.slurm.node import SlurmTask, StopSignal, this_task
from memo_assets.compute.source import source_version
from memo_assets.graph import code_versions
from memo_assets.store.files import read_json, write_json
from memo_assets.store.umask import UmaskError, set_umask
from memo_assets.training.interruption import Interrupted

_PROGRESS_EVERY_SECONDS = 0.5
PARENT_VARIABLE = "MEMO_PARENT_PID"
LOG_NAME = "log.txt"
BUSY = 3
GAVE_WAY = 75  # EX_TEMPFAIL


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


def main(item_path: Path, task: SlurmTask | None = None, stop: StopSignal | None = None) -> int:
    """Run one item.

    Args:
        item_path: the item's JSON file, in its work folder.
        task: the Slurm task that this process is, if it is one.
        stop: remembers whether this process was asked to stop.

    Returns:
        Exit code: 0 done, 1 failed, 3 another worker has one of the seeds, 75 gave way and will go on later.
    """
    stop = stop or StopSignal()
    item = WorkItem.model_validate_json(item_path.read_text(encoding="utf-8"))
    folder = item_path.parent
    try:
        with seeds_locked(item):
            return _compute(item, folder, task, stop)
    except Busy as busy:
        print(busy, file=sys.stderr, flush=True)  # noqa: T201
        return BUSY


def _compute(item: WorkItem, folder: Path, task: SlurmTask | None, stop: StopSignal) -> int:
    earlier = read_result(folder) if task is not None and task.restarts else None
    if earlier is not None and earlier.error is None:
        say(f"{item}: queued again after its end (its node failed?): nothing is left to do")
        return 0
    started = time.monotonic()
    before = _seconds_of_earlier_attempts(folder)
    (folder / "result.json").unlink(missing_ok=True)
    reset_peak_memory()
    where = f"task {task.id}, attempt {task.restarts + 1}, " if task else ""
    say(f"{item}: {where}on {platform.node()}, process {os.getpid()}")
    try:
        result = _run(item, folder, stop)
    except Interrupted as interrupted:
        assert task is not None
        assert stop.number is not None
        write_json(folder / "attempts.json", {"seconds": before + time.monotonic() - started})
        error = task.give_way(interrupted, stop.number)
        if error is None:
            return GAVE_WAY
        result = ItemResult(error=error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: the submitter must hear of it
        traceback.print_exc()
        result = ItemResult(error=_sentence(error))
    result = result.model_copy(
        update={
            "seconds": round(before + time.monotonic() - started, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "host": platform.node(),
            "job": task.id if task else None,
            "gpus": task.gpus if task else _visible_gpus(),
            "attempts": task.restarts + 1 if task else 1,
        }
    )
    try:
        write_json(folder / "result.json", result.model_dump(mode="json"))
    except OSError as error:
        print(f"the result cannot be written: {_sentence(error)}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    if result.error is None:
        for leftover in (folder / "state", folder / "made"):
            shutil.rmtree(leftover, ignore_errors=True)
    return 0 if result.error is None else 1


def _run(item: WorkItem, folder: Path, stop: StopSignal) -> ItemResult:
    own = code_versions(item.study)[item.step]
    if own != item.code_version:
        raise StaleItemError(
            f"this worker runs code version {own} of {item.study.name}/{item.step}, the item was made by "
            f"{item.code_version}: reload the code location and materialize again"
        )
    if source_version() != item.source:
        raise StaleItemError(
            f"this worker on {platform.node()} runs source {source_version()} of memo_assets, the item was made by "
            f"source {item.source}: the code was changed after this was submitted, or another copy is installed there; "
            "reload the code location and materialize again"
        )
    from memo_assets.compute import steps

    return ItemResult(seeds=steps.STEPS[item.step](item, ProgressFile(folder), stop))


def _seconds_of_earlier_attempts(folder: Path) -> float:
    path = folder / "attempts.json"
    return float(read_json(path)["seconds"]) if path.is_file() else 0.0


def _visible_gpus() -> int:
    """GPUs that torch sees, if the item has imported it."""
    torch = sys.modules.get("torch")
    return torch.cuda.device_count() if torch is not None else 0


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


def serve(modules: Sequence[str]) -> None:
    """Compute the items named on standard input until it ends; answer each with its exit code, one a line.

    Args:
        modules: imported first, ahead of the first item.
    """
    # Started in the background by a shell, a run ignores SIGINT; Dagster then has it ignore SIGTERM too, and so would we.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    source_version()  # what is imported from here on, not what the files hold when an item comes
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


def _compute_alone(item_path: Path) -> int:
    """Compute one item in a process of its own: a Slurm task, or a call by hand."""
    task, stop = this_task(), StopSignal()
    if task is not None:
        stop.install()
    return main(item_path, task, stop)


if __name__ == "__main__":
    try:
        set_umask()
    except UmaskError as error:
        sys.exit(f"error: {error}")
    _end_with_parent()
    if sys.argv[1] == "--serve":
        serve(sys.argv[2:])
    else:
        sys.exit(_compute_alone(Path(sys.argv[1])))
