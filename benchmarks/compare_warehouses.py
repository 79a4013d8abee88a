"""Are two warehouses the same, bit for bit? Counts the rows of every table that only one of them has.

What tells of the run alone (which it was, and when it loaded the rows) is left out.

    python benchmarks/compare_warehouses.py warehouse warehouse/slurm

Each argument is a warehouse directory. Ends with code 1 if any row differs.
"""

import sys
from pathlib import Path

import duckdb

from memo_assets.store.layout import DATABASE_NAME
from memo_assets.store.schema import TABLES


def differing(first: Path, second: Path) -> dict[str, tuple[int, int]]:
    """By table, the rows of the first warehouse and the rows that only one of the two has."""
    with duckdb.connect() as connection:
        for name, folder in (("one", first), ("other", second)):
            connection.execute(f"ATTACH '{folder / DATABASE_NAME}' AS {name} (READ_ONLY)")
        query = """
            WITH a AS (SELECT {columns} FROM one.{table}), b AS (SELECT {columns} FROM other.{table})
            SELECT (SELECT count(*) FROM a),
                   (SELECT count(*) FROM (FROM a EXCEPT ALL FROM b)) + (SELECT count(*) FROM (FROM b EXCEPT ALL FROM a))
        """
        rows = {
            name: connection.execute(query.format(table=name, columns=table.lasting)).fetchone()
            for name, table in TABLES.items()
        }
    return {table: (row[0], row[1]) for table, row in rows.items() if row is not None}


def main() -> None:
    """Print a line a table."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = differing(Path(sys.argv[1]), Path(sys.argv[2]))
    for table, (rows, different) in found.items():
        print(f"{table}: {rows} rows, {different} differ")
    sys.exit(any(different for _, different in found.values()))


if __name__ == "__main__":
    main()
