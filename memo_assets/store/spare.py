"""A copy of the published warehouse made ahead, so that the next publication need not wait for one.

What belongs here: the spare, the thread that makes it, and whether it may still be used. What does not: the lock, the
change and the clean-up of leftovers (`tables`), who wants it (`pipeline`).
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from io import FileIO
from pathlib import Path

from memo_assets.store.files import temporary_path

_CHUNK = 1 << 20
_TICK = 0.02
"""Seconds; two changes of a file that lie further apart have different times."""

_ahead: "_Ahead | None" = None


@contextlib.contextmanager
def copying_ahead() -> Iterator[None]:
    """While the block lasts, a thread copies what this process has published, for its next publication.

    That is of use to a process that publishes several times. What another process needs is not copied, and at the end
    the last copy is removed. Blocks are not nested.
    """
    global _ahead  # noqa: PLW0603 - publications are far below the block, and below Dagster
    _ahead = _Ahead()
    try:
        yield
    finally:
        ending, _ahead = _ahead, None
        ending.close()


def take_spare(path: Path) -> Path | None:
    """The spare of a published file, which from now on is the caller's to change or to remove.

    Waits for one that is being made. To be called under the lock of writers, by which nobody else publishes or removes
    leftovers meanwhile.

    Returns:
        Its path; None unless it certainly is a whole copy of the file as it is now.
    """
    return None if _ahead is None else _ahead.take(path)


def put_in_place(copy: Path, path: Path) -> None:
    """Rename a copy over the published file; in a block of `copying_ahead` also free the old file and make the next spare.

    To be called under the lock of writers.
    """
    if _ahead is None:
        copy.replace(path)
    else:
        _ahead.put_in_place(copy, path)


class _Ahead:
    """The one thread of a block, and the spare that it makes or has made."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="spare warehouse")
        self._spare: _Spare | None = None

    def take(self, path: Path) -> Path | None:
        if self._spare is None:
            return None
        copy = self._spare.take(path)  # after an interrupt meanwhile, the end of the block removes it
        self._spare = None
        return copy

    def put_in_place(self, copy: Path, path: Path) -> None:
        # Renaming over a file frees its blocks, unless somebody has it open.
        old = path.open("rb") if path.is_file() else None
        try:
            copy.replace(path)
        finally:
            if old is not None:
                self._pool.submit(old.close)
        self._spare = _Spare(path, self._pool)

    def close(self) -> None:
        if self._spare is not None:
            self._spare.remove()
        self._pool.shutdown()


class _Spare:
    """A copy of a published file that a thread makes and brings to the disk.

    The file stays open until the spare is taken. So its inode cannot go to a new file; and DuckDB's lock on the file, by
    which direct writers wait for readers, is not lost: a process loses it when it closes the file anywhere.
    """

    def __init__(self, path: Path, pool: ThreadPoolExecutor) -> None:
        self._path = path
        self._copy = temporary_path(path)
        self._source: FileIO | None = None
        self._copied: tuple[int, ...] | None = None  # the file of which the copy is whole
        self._unwanted = threading.Event()
        # What goes wrong stays in the future, which nobody asks: without a spare, `tables` copies and says what is wrong.
        self._made = pool.submit(self._make)

    def take(self, path: Path) -> Path | None:
        """Wait for the copy; its path if it is one of what is published at this path now, else it is removed."""
        wait([self._made])
        whole = self._copied is not None and path == self._path and self._copied == _state_at(path)
        # Another process that was about to publish may have removed it as a leftover.
        if whole and self._copy.is_file():
            self._close_source()
            return self._copy
        self.remove()
        return None

    def remove(self) -> None:
        """Stop copying if need be, and leave nothing."""
        self._unwanted.set()
        wait([self._made])
        self._close_source()
        with contextlib.suppress(OSError):
            self._copy.unlink(missing_ok=True)

    def _make(self) -> None:
        try:
            self._source = self._path.open("rb", buffering=0)
            found = os.fstat(self._source.fileno())
            # Others need space too. What is lacking for the warehouse itself is told when it is copied for its change.
            if shutil.disk_usage(self._path.parent).free < 2 * found.st_size:
                return
            # A change during the copying then has another time than the last one before it.
            self._unwanted.wait(_TICK)
            chunk = memoryview(bytearray(_CHUNK))
            with self._copy.open("xb") as copy:
                while not self._unwanted.is_set() and (size := self._source.readinto(chunk)):
                    copy.write(chunk[:size])
                if self._unwanted.is_set():
                    return
                copy.flush()
                os.fsync(copy.fileno())
            if _state(os.fstat(self._source.fileno())) == _state(found):
                self._copied = _state(found)
        finally:
            if self._copied is None:
                self._copy.unlink(missing_ok=True)

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()


def _state(found: os.stat_result) -> tuple[int, ...]:
    """What is different after any change of a file, or with another file in its place."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _state_at(path: Path) -> tuple[int, ...] | None:
    try:
        return _state(path.stat())
    except OSError:
        return None
