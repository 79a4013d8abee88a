"""Only one worker at a time writes the files of a split seed: the last line of defence behind the ledger."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from memo_assets.compute.items import NO_SEED, WorkItem, seeds_in_words

_PATIENCE_SECONDS = 3.0  # a worker of a killed run needs up to a second to notice that it is alone


class Busy(RuntimeError):  # noqa: N818 - says what is
    """Another worker holds one of the seeds; the message names it."""


def lock_file(item: WorkItem) -> Path:
    """The lock file of an item's step; byte `seed + 1` of it stands for a seed."""
    return item.layout.work / "locks" / item.step


@contextlib.contextmanager
def seeds_locked(item: WorkItem) -> Iterator[None]:
    """Hold the locks of all seeds of an item; the kernel frees them whatever ends this process.

    Raises:
        Busy: another process holds one of them.
    """
    path = lock_file(item)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for unit in item.units:
            if not _locked(file, unit + 1):
                what = f"{item.study.name}/{item.step}" + (
                    "" if unit == NO_SEED else f", {seeds_in_words([unit])}"
                )
                raise Busy(f"another worker is computing {what} right now; wait for it or end it")
        yield


def _locked(file: IO[str], byte: int) -> bool:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        else:
            return True
