"""The command `memo sql`."""

import csv
import json
import math
import sys
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from memo_assets.cli_output import console, fail


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, for example 'FROM samples LIMIT 5'.")],
    output: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    limit: Annotated[int, typer.Option(help="Rows shown as a table.", min=1)] = 50,
) -> None:
    """Ask the warehouse, read-only. Tables: `memo sql "FROM duckdb_tables() SELECT table_name, comment"`."""
    import duckdb

    from memo_assets.store.tables import WarehouseError, reading

    if output not in ("table", "csv", "json"):
        fail(f"--format: given {output!r}; expected table, csv or json")
    try:
        with reading() as connection:
            connection.execute("SET enable_external_access = false")
            kinds = [statement.type.name for statement in connection.extract_statements(query)]
            if kinds not in (["SELECT"], ["EXPLAIN"]):
                fail(
                    f"expected one SELECT, given {' and '.join(kinds) or 'nothing'}; the warehouse is read-only"
                )
            relation = connection.execute(query)
            columns, rows = [name for name, *_ in relation.description], relation.fetchall()
    except (WarehouseError, OSError, duckdb.Error) as error:
        fail(str(error))
    # csv and json are for pipes: free of markup and wrapping, every digit kept.
    if output == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    elif output == "json":
        records = [{name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in rows]
        print(json.dumps(records, indent=1, default=str, allow_nan=False))  # noqa: T201
    else:
        table = Table(*(escape(column) for column in columns))
        for row in rows[:limit]:
            table.add_row(*(escape(_cell(value)) for value in row))
        console.print(table)
        if len(rows) > limit:
            console.print(f"{limit} of {len(rows)} rows; --limit shows more")


def _plain(value: object) -> object:
    """A value as JSON knows it: what is not finite becomes null, a decimal a number; lists and records likewise."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    return value


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
