"""Where the commands print, and how they end with one sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

console = Console()
_errors = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """Print an error and end with code 1."""
    _errors.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def fail_run(message: str) -> NoReturn:
    """Print why a run failed and end with code 1; of a full disk say so, in one sentence.

    Args:
        message: what the run said.
    """
    from memo_assets.store.layout import warehouse_dir

    signs = ("No space left on device", "disk is full", "Disk quota exceeded", "File too large")
    if any(sign in message for sign in signs):
        where = message.partition(": ")[0].splitlines()[0]
        fail(
            f"{where}: {warehouse_dir()} is full: free space there, or move the folder to a larger disk and set MEMO_WAREHOUSE, "
            "and run the same command again: what is done is kept"
        )
    fail(message)


@contextmanager
def writable() -> Iterator[None]:
    """One sentence instead of a traceback where warehouse or Dagster's own storage cannot be written, or is damaged."""
    from sqlalchemy.exc import DatabaseError, OperationalError

    from memo_assets.store.layout import dagster_home, warehouse_dir
    from memo_assets.store.tables import WarehouseError

    try:
        yield
    except WarehouseError as error:
        fail(str(error))
    except (OSError, OperationalError) as error:
        reason = str(error).splitlines()[0]
        fail(
            f"{warehouse_dir()} cannot be written: {reason}. Free space or rights there, or set MEMO_WAREHOUSE, and "
            "run the same command again: what is done is kept"
        )
    except DatabaseError as error:
        reason = str(error).splitlines()[0]
        fail(
            f"{dagster_home()} cannot be read: {reason}. Restore it from a copy, or move it away and run `memo demo` with your "
            "studies again, which then computes everything anew"
        )
