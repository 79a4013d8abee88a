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


@contextmanager
def writable() -> Iterator[None]:
    """One sentence instead of a traceback where the warehouse or Dagster's own storage cannot be written."""
    from sqlalchemy.exc import OperationalError

    from memo_assets.store.layout import warehouse_dir

    try:
        yield
    except (OSError, OperationalError) as error:
        reason = str(error).splitlines()[0]
        fail(
            f"{warehouse_dir()} cannot be written: {reason}. Free space or rights there, or set MEMO_WAREHOUSE, and "
            "run the same command again: what is done is kept"
        )
