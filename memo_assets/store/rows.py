"""Replacing a slice of a table, with the proof that no key comes twice.

What belongs here: deleting and inserting rows, and looking at what was inserted. What does not: which rows a study has
(`load`), and publishing them (`tables`).
"""

from collections.abc import Sequence

import duckdb

from memo_assets.store.schema import TABLES
from memo_assets.store.tables import WarehouseError


def replace_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    query: str,
    parameters: list | dict,
    *,
    where: dict,
    check_keys: bool = True,
) -> int:
    """Delete the rows of a slice of a table and insert the rows of a query in their place.

    Args:
        connection: a connection of `publish`.
        table: name of the table.
        query: SELECT that names the table's columns; rows outside the slice are refused.
        parameters: values of the query's placeholders.
        where: column -> value, list of values or None (null) that define the slice, such as study and split seeds.
        check_keys: False leaves it to the caller to make sure that no key comes twice, or to call `require_keys`.

    Returns:
        Number of rows inserted.

    Raises:
        WarehouseError: the new rows hold a key twice, or lie outside the slice.
    """
    conditions, values = _conditions(where)
    connection.execute(f"DELETE FROM {table} WHERE {conditions}", values)
    key = ", ".join(TABLES[table].key)
    try:
        (inserted,) = _row(connection, f"INSERT INTO {table} BY NAME {query}", parameters)
    except duckdb.ConstraintException as error:
        raise WarehouseError(
            f"table {table}: new rows repeat a key ({key}) or lack a part of it: {error}; nothing was changed. "
            "Materialize the upstream asset again"
        ) from error
    if check_keys:
        require_keys(connection, table, where)
    (rows,) = _row(connection, f"SELECT count(*) FROM {table} WHERE {conditions}", values)
    if rows != inserted:
        raise WarehouseError(
            f"table {table}: {inserted - rows} of {inserted} new rows lie outside {where}; nothing was changed. "
            "Materialize the upstream asset again"
        )
    return rows


def require_keys(connection: duckdb.DuckDBPyConnection, table: str, where: dict) -> None:
    """Refuse a slice of a table in which a key comes twice.

    Args:
        connection: a connection of `publish`.
        table: name of the table.
        where: the slice, as of `replace_rows`.

    Raises:
        WarehouseError: a key comes twice.
    """
    conditions, values = _conditions(where)
    key = ", ".join(TABLES[table].key)
    # Rows that come in ascending order of their keys are shown to be different by their neighbours alone.
    varied = [name for name in TABLES[table].key if name not in where or isinstance(where[name], list)]
    rows, not_above = _row(connection, _count_not_above(table, varied, conditions), values)
    distinct = rows
    if not_above > 1:  # the first has no neighbour
        query = f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {table} WHERE {conditions})"
        (distinct,) = _row(connection, query, values)
    if rows != distinct:
        raise WarehouseError(
            f"table {table}: {rows - distinct} of {rows} new rows repeat a key ({key}); nothing was changed. "
            "Materialize the upstream asset again"
        )


def _count_not_above(table: str, key: Sequence[str], conditions: str) -> str:
    """Query for the number of rows of a slice, and of those whose key is not shown to be above that of the row before."""
    above = "false"
    for column in reversed(key):
        above = f"({column} > before_{column} OR {column} = before_{column} AND {above})"
    before = ", ".join(f"{column}, lag({column}) OVER () AS before_{column}" for column in key)
    return (
        f"SELECT count(*), count(*) FILTER ({above} IS NOT true) "
        f"FROM (SELECT {before or '1'} FROM {table} WHERE {conditions})"
    )


def _conditions(where: dict) -> tuple[str, list]:
    parts, values = [], []
    for column, value in where.items():
        if value is None:
            parts.append(f"{column} IS NULL")
            continue
        parts.append(f"{column} IN (SELECT unnest(?))" if isinstance(value, list) else f"{column} = ?")
        values.append(value)
    return " AND ".join(parts), values


def _row(connection: duckdb.DuckDBPyConnection, query: str, parameters: list | dict) -> tuple:
    (row,) = connection.execute(query, parameters).fetchall()
    return row
