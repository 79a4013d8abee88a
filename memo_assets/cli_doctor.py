"""The command `memo doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from memo_assets.cli_output import console, fail

_COLORS = {"fine": "green", "note": "yellow", "broken": "red"}


def doctor(
    output: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Look whether this machine is fit for the platform, and name what to do. Ends with code 1 if something is broken."""
    from memo_assets.doctor import examine

    if output not in ("table", "json"):
        fail(f"--format: given {output!r}; expected table or json")
    findings = list(examine())
    if output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=1))  # noqa: T201
    else:
        table = Table("Looked at", "", "Found", "What to do")
        for one in findings:
            color = _COLORS[one.state]
            table.add_row(one.name, f"[{color}]{one.state}[/]", escape(one.found), escape(one.fix))
        console.print(table)
    if any(one.state == "broken" for one in findings):
        raise typer.Exit(1)
