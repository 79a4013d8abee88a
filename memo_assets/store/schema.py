"""The warehouse's schema: all tables, views and macros, and the SQL that makes them.

What belongs here: the one description of the warehouse, from which the DDL, the comments in the database, the column
schema shown in the web UI and the documentation are made. What does not: queries.
"""

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from memo_assets.store.analysis_tables import ANALYSIS_TABLES
from memo_assets.store.comparison_tables import COMPARISON_TABLES
from memo_assets.store.computed_tables import COMPUTED_TABLES
from memo_assets.store.description import Column, Table
from memo_assets.store.loaded_tables import LOADED_TABLES
from memo_assets.store.macros import MACROS
from memo_assets.store.views import VIEWS

if TYPE_CHECKING:
    import duckdb

TABLES: dict[str, Table] = {
    table.name: table for table in (*LOADED_TABLES, *COMPUTED_TABLES, *ANALYSIS_TABLES, *COMPARISON_TABLES)
}


def tables_of(asset: str) -> tuple[str, ...]:
    """Names of the tables that an asset's runs fill.

    Args:
        asset: name of an asset within its study.
    """
    return tuple(table.name for table in TABLES.values() if table.asset == asset)


def ensure_schema(connection: "duckdb.DuckDBPyConnection") -> None:
    """Run `ddl` on a database that another version has made, or that lacks a table, view or column; else do nothing.

    The statements are hundreds, and take longer than many a load. The macro `schema_version` of the database tells which
    were run last.

    Args:
        connection: on the database, for writing.
    """
    version = _version()
    if _made_by(connection) == version:
        there = set(connection.execute("SELECT table_name, column_name FROM duckdb_columns()").fetchall())
        if there >= {
            (name, column.name) for name, made in (TABLES | VIEWS).items() for column in made.columns
        }:
            return
    for statement in ddl():
        connection.execute(statement)
    connection.execute(f"CREATE OR REPLACE MACRO schema_version() AS '{version}'")
    connection.execute("COMMENT ON MACRO schema_version IS 'Hash of the statements that made this schema.'")


def _made_by(connection: "duckdb.DuckDBPyConnection") -> str | None:
    import duckdb

    try:
        return connection.execute("SELECT schema_version()").fetchall()[0][0]
    except duckdb.CatalogException:  # no such macro: an earlier version, or an empty database
        return None


@cache
def _version() -> str:
    return hashlib.sha256("\n".join(ddl()).encode()).hexdigest()[:16]


def ddl() -> list[str]:
    """SQL statements that make every table, column, view and macro that is not there yet, with comments."""
    statements = []
    for table in TABLES.values():
        columns = [f"{column.name} {column.type}" for column in table.columns]
        if table.indexed:
            columns.append(f"PRIMARY KEY ({', '.join(table.key)})")
        statements.append(f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)})")
        # A warehouse of an earlier version gains the columns that are new.
        statements.extend(
            f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column.name} {column.type}"
            for column in table.columns
        )
        statements.append(f"COMMENT ON TABLE {table.name} IS {_quote(table.text)}")
        statements += _comments(table.name, table.columns)
    for name, view in VIEWS.items():
        statements.append(f"CREATE OR REPLACE VIEW {name} AS {view.query}")
        statements.append(f"COMMENT ON VIEW {name} IS {_quote(view.text)}")
        statements += _comments(name, view.columns)
    for name, macro in MACROS.items():
        statements.append(
            f"CREATE OR REPLACE MACRO {name}({', '.join(macro.parameters)}) AS TABLE {macro.query}"
        )
        statements.append(f"COMMENT ON MACRO TABLE {name} IS {_quote(macro.comment)}")
    return statements


def _comments(name: str, columns: tuple[Column, ...]) -> list[str]:
    return [f"COMMENT ON COLUMN {name}.{column.name} IS {_quote(column.text)}" for column in columns]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
