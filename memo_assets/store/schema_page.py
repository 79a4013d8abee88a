"""The page that describes the warehouse: one section per table, view and macro, made from a database's own catalog.

What belongs here: reading names, types, keys and comments back from DuckDB, and writing them as Markdown.
"""

import re

import duckdb

from memo_assets.store.macros import MACROS
from memo_assets.store.schema import TABLES, VIEWS, ddl

# The forms in which `description` puts comments together.
_TABLE_COMMENT = re.compile(
    r"(?P<text>.*?)(?: Asset: (?P<asset>\w+)\.)?(?: Key: \((?P<key>[\w, ]+)\)\.)?", re.DOTALL
)
_COLUMN_COMMENT = re.compile(r"(?P<text>.*?)(?: Unit: (?P<unit>.+)\.)?", re.DOTALL)

_HEAD = """# Tables, views and macros of the warehouse

Made by `make docs` from the comments in the database; `memo sql --schema` prints the same. In SQL, `duckdb_tables()`,
`duckdb_views()` and `duckdb_columns()` have them in the column `comment`."""


def schema_page() -> str:
    """The page of an empty warehouse of this version, in Markdown."""
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        return page_of(connection)


def page_of(connection: duckdb.DuckDBPyConnection) -> str:
    """The page of the tables, views and macros that a database has, in the order of `schema`, in Markdown.

    Args:
        connection: on the database.
    """
    tables = _relations(connection, "table", [*TABLES])
    views = _relations(connection, "view", [*VIEWS])
    indexed = connection.execute(
        "SELECT table_name FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    ).fetchall()
    checked_by = {
        name: "PRIMARY KEY" if (name,) in indexed else "checked while loading" for name, _ in tables
    }
    parts = [_HEAD, _contents([*tables, *views]), "## Tables"]
    for name, comment in tables:
        parts += _section(connection, name, comment, f" ({checked_by[name]})")
    parts.append("## Views")
    for name, comment in views:
        parts += _section(connection, name, comment, "")
    macros = connection.execute(
        "SELECT function_name, parameters, comment FROM duckdb_functions() "
        "WHERE function_type = 'table_macro' AND NOT internal AND function_name IN (SELECT unnest(?))",
        [[*MACROS]],
    ).fetchall()
    parts += ["## Macros"] if macros else []
    for name, parameters, comment in macros:
        parts += _macro_section(connection, name, parameters, comment)
    return "\n\n".join(parts) + "\n"


def _macro_section(
    connection: duckdb.DuckDBPyConnection, name: str, parameters: list[str], comment: str
) -> list[str]:
    """A macro's section; comments of its columns are not in the database, which keeps none."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM {name}('', 0)").fetchall()}
    lines += [
        f"| `{column.name}` | {kinds[column.name]} | {_cell(column.unit)} | {_cell(column.comment)} |"
        for column in MACROS[name].columns
    ]
    return [f"### {name}", comment, f"`FROM {name}({', '.join(parameters)})`", "\n".join(lines)]


def _relations(
    connection: duckdb.DuckDBPyConnection, kind: str, order: list[str]
) -> list[tuple[str, str | None]]:
    """Names and comments of all tables, or of all views: the database keeps no order of its own."""
    query = f"SELECT {kind}_name AS name, comment FROM duckdb_{kind}s() WHERE NOT internal"
    return connection.execute(f"FROM ({query}) ORDER BY list_position(?, name), name", [order]).fetchall()


def _contents(relations: list[tuple[str, str | None]]) -> str:
    lines = ["| name | what it holds |", "|---|---|"]
    for name, comment in relations:
        lines.append(f"| [`{name}`](#{name}) | {_cell(_parts(_TABLE_COMMENT, comment)['text'])} |")
    return "\n".join(lines)


def _section(
    connection: duckdb.DuckDBPyConnection, name: str, comment: str | None, checked: str
) -> list[str]:
    found = _parts(_TABLE_COMMENT, comment)
    facts = []
    if found["key"]:
        facts.append("Key: " + ", ".join(f"`{column}`" for column in found["key"].split(", ")) + checked)
    if found["asset"]:
        facts.append(f"written by the asset `{found['asset']}`")
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    columns = connection.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [name],
    ).fetchall()
    for column, kind, text in columns:
        of_column = _parts(_COLUMN_COMMENT, text)
        lines.append(
            f"| `{column}` | {kind} | {_cell(of_column['unit'] or '')} | {_cell(of_column['text'])} |"
        )
    return [f"### {name}", found["text"], *(["; ".join(facts) + "."] if facts else []), "\n".join(lines)]


def _parts(form: re.Pattern[str], comment: str | None) -> dict[str, str]:
    found = form.fullmatch(comment or "")
    assert found is not None  # every text has the form, be it without key or unit
    return found.groupdict()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
