"""Where the commands print, and how they end with one sentence instead of a traceback."""

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
