"""Where the rows of a study's tables come from: the table `provenance`, written in the transaction of the rows.

What belongs here: one row per table, or per table and block of split seeds. What does not: asking Dagster for run and
versions (`assets.recording`), comparing with its record (`checks.provenance`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from memo_assets.store.rows import replace_rows


@dataclass(frozen=True)
class Provenance:
    """What made the rows of a load.

    Attributes:
        asset: name of the asset.
        run_id: Dagster's id of the run.
        code_version: hash of all settings and algorithms that the rows depend on.
        data_version: hash of the content of the files that were loaded.
        input_versions: data version of each upstream asset, by its name.
    """

    asset: str
    run_id: str
    code_version: str
    data_version: str
    input_versions: Mapping[str, str]


def record_provenance(
    connection: duckdb.DuckDBPyConnection,
    study: str,
    made: Provenance,
    rows: Mapping[str, int],
    *,
    block: str | None = None,
    split_seeds: Sequence[int] | None = None,
) -> None:
    """Write down what made the rows that this connection has loaded, in the place of what was written before.

    Blocks may have been cut otherwise at an earlier load: an older block that shares split seeds with this one goes too.

    Args:
        connection: the connection of `publish` that has loaded the rows.
        study: name of the study.
        made: run and versions.
        rows: number of rows loaded, by table.
        block: partition of the asset, for tables loaded by blocks of split seeds.
        split_seeds: the block's seeds.
    """
    tables = list(rows)
    if split_seeds is not None:
        connection.execute(
            "DELETE FROM provenance WHERE study = ? AND list_contains(?, table_name) AND list_has_any(split_seeds, ?)",
            [study, tables, list(split_seeds)],
        )
    inputs = sorted(made.input_versions.items())
    replace_rows(
        connection,
        "provenance",
        """
        SELECT $study AS study, unnest($tables) AS table_name, $block::VARCHAR AS block,
               $split_seeds::INTEGER[] AS split_seeds, $asset AS asset, $run_id AS run_id,
               $code_version AS code_version, $data_version AS data_version,
               map($inputs::VARCHAR[], $versions::VARCHAR[]) AS input_versions,
               unnest($counts) AS row_count, $loaded_at AS loaded_at
        """,
        {
            "study": study,
            "tables": tables,
            "block": block,
            "split_seeds": None if split_seeds is None else list(split_seeds),
            "asset": made.asset,
            "run_id": made.run_id,
            "code_version": made.code_version,
            "data_version": made.data_version,
            "inputs": [name for name, _ in inputs],
            "versions": [version for _, version in inputs],
            "counts": list(rows.values()),
            "loaded_at": datetime.now(UTC).replace(tzinfo=None),
        },
        where={"study": study, "table_name": tables, "block": block},
    )


def read_provenance(
    connection: duckdb.DuckDBPyConnection, study: str, tables: Sequence[str]
) -> dict[tuple[str, str | None], Provenance]:
    """What made the rows of some tables, by table and block.

    Args:
        connection: on the warehouse.
        study: name of the study.
        tables: names of the tables.
    """
    if not _is_kept(connection):
        return {}
    query = """
        SELECT table_name, block, asset, run_id, code_version, data_version, input_versions FROM provenance
        WHERE study = ? AND list_contains(?, table_name) ORDER BY table_name, block
    """
    rows = connection.execute(query, [study, list(tables)]).fetchall()
    return {(table, block): Provenance(*rest) for table, block, *rest in rows}


def loads_of(connection: duckdb.DuckDBPyConnection, study: str) -> frozenset[tuple[str, str | None]] | None:
    """What of a study was loaded, by table and block; None where the warehouse does not say.

    Args:
        connection: on the warehouse.
        study: name of the study.
    """
    if not _is_kept(connection):
        return None
    rows = connection.execute("SELECT table_name, block FROM provenance WHERE study = ?", [study]).fetchall()
    return frozenset((table, block) for table, block in rows)


def _is_kept(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether there is the table; else this is a warehouse of an earlier version, in which nothing was loaded since."""
    query = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'provenance'"
    return connection.execute(query).fetchone() is not None
