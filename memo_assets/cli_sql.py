"""The command `memo sql`.

What belongs here: which statement is let through, and how values are shown as a table, csv or json. What does not:
opening the warehouse (`store.tables`), the page of its schema (`store.schema_page`).
"""

import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from memo_assets.cli_output import console, fail

if TYPE_CHECKING:
    import duckdb

_BATCH = 10_000  # rows held at once on their way into a pipe
_LOCKED = (
    "enable_external_access = false",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "lock_configuration = true",  # the last: nothing can be set after it
)
_BLANK = r"(?:\s|--[^\r\n]*|/\*.*?\*/)"
_EXPLAIN = re.compile(
    rf"^{_BLANK}*EXPLAIN(?:{_BLANK}+ANALYZE\b)?(?:{_BLANK}*\((?!\s*(?:SELECT|FROM|WITH|VALUES)\b)[\w\s,]+\))?",
    re.IGNORECASE | re.DOTALL,
)


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT, for example 'FROM samples LIMIT 5'.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A file that holds the one SELECT.", metavar="FILE.sql")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Describe all tables and views, with every column's unit.")
    ] = False,
    output: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    limit: Annotated[int, typer.Option(help="Rows shown as a table.", min=1)] = 50,
) -> None:
    """Ask the warehouse, read-only. A table shows the first rows with rounded numbers; csv and json have all of it."""
    import duckdb

    from memo_assets.store.schema_page import schema_page
    from memo_assets.store.tables import WarehouseError, reading

    given = {"a query": query is not None, "--file": file is not None, "--schema": schema}
    if sum(given.values()) != 1:
        named = " and ".join(name for name, there in given.items() if there)
        fail(f"expected one of a query, --file FILE.sql and --schema; given {named or 'none of them'}")
    if output not in ("table", "csv", "json"):
        fail(f"--format: given {output!r}; expected table, csv or json")
    if schema:
        print(schema_page(), end="")  # noqa: T201
        return
    text = _text_of(file) if file is not None else query or ""
    try:
        with reading() as connection:
            lock(connection)
            kinds = _kinds(connection, text)
            if kinds != ["SELECT"]:
                place = "" if file is None else f"{file}: "
                fail(f"{place}expected one SELECT, given {_listed(kinds)}; the warehouse is read-only")
            result = connection.execute(text)
            columns = [name for name, *_ in result.description]
            # csv and json are for pipes: free of markup and wrapping, every digit kept, a batch of rows at a time.
            if output == "csv":
                _write_csv(columns, _batches(result))
            elif output == "json":
                _write_json(columns, _batches(result))
            else:
                _show(columns, result.fetchmany(limit + 1), limit)
    except BrokenPipeError:
        raise  # whoever reads the pipe has seen enough; typer ends without a word
    except duckdb.Error as error:
        fail(_located(error, file))
    except (WarehouseError, OSError) as error:
        fail(str(error))


def lock(connection: "duckdb.DuckDBPyConnection") -> None:
    """Shut a connection off from all files but the open warehouse, from extensions, and from changes of its settings."""
    for setting in _LOCKED:
        connection.execute(f"SET {setting}")


def _kinds(connection: "duckdb.DuckDBPyConnection", text: str) -> list[str]:
    """Kinds of the statements of a text; an EXPLAIN is of the kind that it explains, which ANALYZE would run.

    DuckDB lets a COPY write over the very file that is open read-only, and an EXPLAIN ANALYZE holds any statement.
    """
    statements = connection.extract_statements(text)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["EXPLAIN"]:
        return kinds
    explained = _EXPLAIN.sub("", statements[0].query, count=1)
    return ["EXPLAIN"] if explained == statements[0].query else _kinds(connection, explained)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        fail(f"--file {file} cannot be read: {error.strerror}; give a text file with one SELECT")
    except UnicodeDecodeError as error:
        fail(f"--file {file} is no text in UTF-8 (byte {error.start}); give a text file with one SELECT")


def _listed(kinds: list[str]) -> str:
    """Kinds of statements in words: a long file of them is no long message."""
    if len(kinds) <= 3:
        return " and ".join(kinds) or "nothing"
    return f"{len(kinds)} statements (" + ", ".join(f"{n} {kind}" for kind, n in Counter(kinds).items()) + ")"


def _located(error: "duckdb.Error", file: Path | None) -> str:
    """What DuckDB says, after the file and the line that it is about."""
    if file is None:
        return str(error)
    line = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return f"{file}:{line[1]}: {error}" if line else f"{file}: {error}"


def _batches(result: "duckdb.DuckDBPyConnection") -> Iterator[list[tuple]]:
    """Rows of a running query, at least one batch: a query that fails at once has written nothing."""
    rows = result.fetchmany(_BATCH)
    yield rows
    while len(rows) == _BATCH:
        rows = result.fetchmany(_BATCH)
        yield rows


def _write_csv(columns: list[str], batches: Iterator[list[tuple]]) -> None:
    writer, first = csv.writer(sys.stdout, lineterminator="\n"), next(batches)
    writer.writerow(columns)
    writer.writerows([_field(value) for value in row] for row in first)
    for rows in batches:
        writer.writerows([_field(value) for value in row] for row in rows)


def _write_json(columns: list[str], batches: Iterator[list[tuple]]) -> None:
    """A list of records, one a line."""
    names, before = _distinct(columns), "[\n"
    for rows in batches:
        for row in rows:
            record = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            sys.stdout.write(before + json.dumps(record, default=str, allow_nan=False))
            before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def _show(columns: list[str], rows: list[tuple], limit: int) -> None:
    """Print rows, as a table where it fits the screen, else as a list of values for each; numbers at the right.

    One row more than the limit says that there are more.
    """
    cells = [[_cell(value) for value in row] for row in rows[:limit]]
    table, width = Table(), 1
    for place, column in enumerate(columns):
        kinds = {type(row[place]) for row in rows} - {type(None)}
        numeric = bool(kinds) and kinds <= {int, float, Decimal}
        table.add_column(escape(column), justify="right" if numeric else "left", no_wrap=True)
        width += max(map(cell_len, (column, *(row[place] for row in cells)))) + 3
    for row in cells:
        table.add_row(*map(escape, row))
    if width <= console.width:
        console.print(table)
    else:
        _show_records(columns, cells)
    if len(rows) > limit:
        console.print(f"the first {limit} rows; --limit shows more, --format csv or json all")


def _show_records(columns: list[str], cells: list[list[str]]) -> None:
    for number, row in enumerate(cells, start=1):
        record = Table.grid(padding=(0, 2))
        for column, cell in zip(columns, row, strict=True):
            record.add_row(escape(column), escape(cell))
        console.print(f"[bold]row {number}[/]")
        console.print(record)


def _distinct(columns: list[str]) -> list[str]:
    """Names for the fields of a record: a name that is there already gets a number, so that no column is lost."""
    names: list[str] = []
    for column in columns:
        name, number = column, 0
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _plain(value: Any) -> Any:
    """A value as JSON knows it: what is not finite becomes null, a decimal a number; lists and records likewise."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    return value


def _field(value: Any) -> Any:
    """A value as a field of csv: truth as in SQL, lists and records as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(_plain(value), default=str, allow_nan=False, ensure_ascii=False)
    return value


def _cell(value: Any) -> str:
    """A value for the eye: four digits, and all of those before the point; the beginning of a long list."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        more = [f"... {len(value)} values"] if len(value) > 5 else []
        return f"[{', '.join([*map(_cell, value[: 3 if more else None]), *more])}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_cell(part)}' for key, part in value.items())}}}"
    return str(value)
