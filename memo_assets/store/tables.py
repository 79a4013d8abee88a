"""The DuckDB warehouse: reading it, and publishing a changed copy of it by rename.

A reader opens the published file and keeps its snapshot for as long as it likes; a load works on a copy,
changes it in one transaction, checks it and takes the published file's place. A crash leaves the old file.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb

from memo_assets.store.files import temporary_path
from memo_assets.store.layout import database_path
from memo_assets.store.schema import ensure_schema
from memo_assets.store.spare import put_in_place, take_spare

_OF_SPACE = "; free space there and run the same command again: what is done is kept"

ROW_GROUPS_MEMORY = "500MB"
"""Enough for a load of any size of tables without an index: it is written out in row groups as it goes."""

MATRICES_MEMORY = "250MB"
"""Enough to read the outputs of any number of models into matrices, some models at a time."""


class WarehouseError(RuntimeError):
    """The warehouse cannot be opened or a load would break it."""


def connect(read_only: bool = True) -> duckdb.DuckDBPyConnection:
    """Open the published warehouse as it is now.

    Args:
        read_only: reading needs no lock and sees one snapshot. Writing directly is for maintenance by hand:
            it blocks readers of other processes; assets use `publish`.

    Raises:
        WarehouseError: there is no warehouse yet, or it is not a DuckDB file.
    """
    path = database_path()
    if not path.is_file():
        raise WarehouseError(
            f"no warehouse at {path}: run `make demo` (or `memo demo`), or set MEMO_WAREHOUSE to its directory"
        )
    return _open_snapshot(path) if read_only else _open(path)


@contextlib.contextmanager
def reading(*, memory: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection that is closed at the end of the block.

    Args:
        memory: how much of the file DuckDB keeps in memory, such as MATRICES_MEMORY; by default it fills up to four fifths
            of the machine's memory.

    Raises:
        WarehouseError: there is no warehouse yet, it cannot be opened, or what is read of it is damaged.
    """
    connection = connect()
    try:
        if memory is not None:
            connection.execute("SET memory_limit = ?", [memory])
        yield connection
    except duckdb.Error as error:
        if _tells_of_damage(error) or isinstance(error, duckdb.IOException):
            raise _unreadable(database_path(), error) from error
        raise
    finally:
        connection.close()


@contextlib.contextmanager
def publish(*, memory: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection on a private copy of the warehouse; the copy is published if the block succeeds.

    All changes of the block are one transaction. Writers of all processes wait for each other. If the block
    raises, the published file stays as it was and the copy is removed.

    Args:
        memory: how much of the file DuckDB keeps in memory, such as ROW_GROUPS_MEMORY; by default it fills up to four fifths
            of the machine's memory. An index must fit.

    Raises:
        WarehouseError: the copy cannot be made or written, such as on a full disk; nothing was changed.
    """
    path = database_path()
    try:
        with _changed_copy(path, memory) as connection:
            yield connection
    except (OSError, duckdb.Error) as error:
        if _tells_of_damage(error):
            raise _unreadable(path, error) from error
        if not isinstance(error, (OSError, duckdb.OperationalError)):
            raise
        raise WarehouseError(
            f"{path} was left as it was, the load failed: {_first_line(error)}"
            f"{_OF_SPACE if _tells_of_space(error) else ''}"
        ) from error


@contextlib.contextmanager
def _changed_copy(path: Path, memory: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _write_lock(path):
        if path.with_name(f"{path.name}.wal").exists():
            # A direct writer was killed. Opening merges what it had committed; a rename would part log and file.
            _open(path).close()
        spare = take_spare(path)
        for leftover in path.parent.glob(f".{path.name}.*.tmp*"):
            if leftover != spare:
                leftover.unlink(missing_ok=True)  # the spare of another process, which may remove it itself
        copy = spare or temporary_path(path)
        try:
            if spare is None and path.is_file():
                shutil.copyfile(path, copy)
            connection = _open(copy, called=path)
            try:
                if memory is not None:
                    connection.execute("SET memory_limit = ?", [memory])
                ensure_schema(connection)
                connection.execute("BEGIN TRANSACTION")
                yield connection
                connection.execute("COMMIT")
                connection.execute("CHECKPOINT")
            finally:
                connection.close()
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            put_in_place(copy, path)
        finally:
            for leftover in path.parent.glob(f"{copy.name}*"):
                leftover.unlink()


def _open(path: Path, *, called: Path | None = None) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(path)
    except duckdb.Error as error:
        raise _unreadable(called or path, error, opened=path) from error


def _open_snapshot(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection that shares nothing with others of this process.

    `duckdb.connect(path)` would join the database that an earlier connection to the path has open: the snapshot of
    before the last load.
    """
    connection = duckdb.connect(config={"temp_directory": f"{path}.tmp"})
    try:
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS memo (READ_ONLY)")
        connection.execute("USE memo")
    except duckdb.Error as error:
        connection.close()
        raise _unreadable(path, error) from error
    return connection


def _unreadable(path: Path, error: Exception, *, opened: Path | None = None) -> WarehouseError:
    """Why the database cannot be read, and the way out; it may have been opened as a copy."""
    reason = _first_line(error).replace(str(opened or path), str(path))
    if "lock on file" in str(error):
        holder = re.search(
            r"Conflicting lock is held in (.*?)\.? (?:\(by |See )", str(error).replace("\n", " ")
        )
        by = f" ({holder.group(1)})" if holder else ""
        return WarehouseError(
            f"{path} cannot be opened: another program{by} holds it open for writing; close it there, or open it read-only, "
            "and run the same command again"
        )
    if isinstance(error, duckdb.IOException) and not _tells_of_damage(error):
        return WarehouseError(f"{path} cannot be read: {reason}{_OF_SPACE if _tells_of_space(error) else ''}")
    return WarehouseError(
        f"{path} is damaged ({reason}): move it and {path.name}.wal, if there is one, out of the folder and run `memo demo` with "
        "your studies again; their rows are loaded anew from their files, nothing is trained again"
    )


def _tells_of_damage(error: Exception) -> bool:
    words = (
        "not a valid DuckDB",
        "orrupt",
        "checksum",
        "eserialize",
        "Could not read enough bytes",
        "INTERNAL Error",
        "FATAL Error",
        "invalidated",
    )
    return isinstance(error, duckdb.Error) and any(word in str(error) for word in words)


def _tells_of_space(error: Exception) -> bool:
    words = ("No space left", "Disk quota exceeded", "File too large", "not enough space")
    return any(word in str(error) for word in words)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


@contextlib.contextmanager
def _write_lock(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
