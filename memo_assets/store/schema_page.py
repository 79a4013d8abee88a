"""The page that describes the warehouse: one section per table and view, made from a database's own catalog.

What belongs here: reading names, types, keys and comments back from DuckDB, and writing them as Markdown.
"""

import re

import duckdb

from memo_assets.store.schema import TABLES, VIEWS, ddl

# The forms in which `description` puts comments together.
_TABLE_COMMENT = re.compile(
    r"(?P<text>.*?)(?: Asset: (?P<asset>\w+)\.)?(?: Key: \((?P<key>[\w, ]+)\)\.)?", re.DOTALL
)
_COLUMN_COMMENT = re.compile(r"(?P<text>.*?)(?: Unit: (?P<unit>.+)\.)?", re.DOTALL)

_HEAD = """# Tables and views of the warehouse

Made by `make docs` from the comments in the database; `memo sql --schema` prints the same. In SQL, `duckdb_tables()`,
`duckdb_views()` and `duckdb_columns()` have them in the column `comment`."""


def schema_page() -> str:
    """The page of an empty warehouse of this version, in Markdown."""
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        return page_of(connection)


def page_of(connection: duckdb.DuckDBPyConnection) -> str:
    """The page of the tables and views that a database has, in the order of `schema`, in Markdown.

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
    return "\n\n".join(parts) + "\n"


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
