"""Loading files into the warehouse: each call replaces one slice of one or several tables.

All functions take a connection of `tables.publish`, so that what they change is published at once or not at all.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa

from memo_assets.store.files import DamagedFileError, content_hash, read_json
from memo_assets.store.layout import SEED_IN_NAME, Layout
from memo_assets.store.moments import read_block
from memo_assets.store.rows import replace_rows, require_keys
from memo_assets.store.schema import TABLES
from memo_assets.store.tables import WarehouseError


def load_samples(connection: duckdb.DuckDBPyConnection, layout: Layout) -> int:
    """Load the table `samples` of a study from its Parquet file; images stay in the file.

    Returns:
        Number of rows.

    Raises:
        WarehouseError: there is no such file.
    """
    _existing(layout, "samples")
    there = {
        row[0]
        for row in connection.execute(
            "DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [str(layout.samples)]
        ).fetchall()
    }
    columns = ", ".join(
        column.name if column.name in there else f"NULL AS {column.name}"
        for column in TABLES["samples"].columns
        if column.name != "study"
    )
    query = f"SELECT ? AS study, {columns} FROM read_parquet(?, hive_partitioning = false) ORDER BY sample_id"
    where = {"study": layout.study}
    return replace_rows(connection, "samples", query, [layout.study, str(layout.samples)], where=where)


def load_block(connection: duckdb.DuckDBPyConnection, layout: Layout, seeds: list[int]) -> dict[str, int]:
    """Load logits, their moments, split masks and checkpoint facts of a block of split seeds.

    Args:
        connection: a connection of `publish`.
        layout: of the study.
        seeds: the block: split seeds that rise by one. Moments of earlier blocks that share a seed with it are removed.

    Returns:
        Rows by table.

    Raises:
        WarehouseError: a file of the block is missing.
        ValueError: the seeds do not rise by one.
    """
    if not seeds or seeds != list(range(seeds[0], seeds[-1] + 1)):
        raise ValueError(f"split seeds {seeds} are no block: give one or more that rise by one.")
    where = {"study": layout.study, "split_seed": seeds}
    logits = [_existing(layout, "logits", seed) for seed in seeds]
    masks = [_existing(layout, "split_masks", seed) for seed in seeds]
    # Not every file has a column of query gaps, and those of a block may differ until all are of the same settings.
    columns = "COLUMNS('^(split_seed|epoch|sample_id|loss|logit_gap|option_logits|query_gaps)$')"
    with ThreadPoolExecutor(1) as beside:  # what it finds spares a check of all keys
        reading = beside.submit(read_block, seeds, logits, masks)
        rows = {
            "logits": replace_rows(
                connection,
                "logits",
                f"SELECT ? AS study, {columns} FROM read_parquet(?, hive_partitioning = false, union_by_name = true)",
                [layout.study, [str(path) for path in logits]],
                where=where,
                check_keys=False,
            ),
            "split_masks": replace_rows(
                connection,
                "split_masks",
                f"SELECT ? AS study, {SEED_IN_NAME} AS split_seed, "
                "sample_id, file_row_number AS position "
                "FROM read_parquet(?, hive_partitioning = false, filename = true, file_row_number = true)",
                [layout.study, [str(path) for path in masks]],
                where=where,
            ),
        }
        found = reading.result()
    if not found.keys_rise:
        require_keys(connection, "logits", where)
    rows["logit_moments"] = _replace_moments(connection, layout.study, seeds, found.moments)
    # A training log names the trigger alone, if there is any.
    entries = [
        {"split_seed": seed, "is_trigger": False, **entry}
        for seed in seeds
        for entry in _checkpoint_facts(_existing(layout, "adapters", seed))
    ]
    names = ["split_seed", *(key for key in entries[0] if key != "split_seed")]
    query = "SELECT ? AS study, " + ", ".join(f"unnest(?) AS {name}" for name in names)
    values = [[entry[name] for entry in entries] for name in names]
    rows["checkpoints"] = replace_rows(connection, "checkpoints", query, [layout.study, *values], where=where)
    return rows


def _replace_moments(
    connection: duckdb.DuckDBPyConnection, study: str, seeds: list[int], moments: pa.Table
) -> int:
    block = {"study": study, "first_seed": seeds[0], "last_seed": seeds[-1]}
    connection.execute(
        "DELETE FROM logit_moments WHERE study = $study AND first_seed <= $last_seed AND last_seed >= $first_seed",
        block,
    )
    connection.register("moments_of_block", moments)
    try:
        query = "SELECT $study AS study, $first_seed AS first_seed, $last_seed AS last_seed, * FROM moments_of_block"
        return replace_rows(connection, "logit_moments", query, block, where=block)
    finally:
        connection.unregister("moments_of_block")


def block_version(layout: Layout, seeds: list[int], hash_of: Callable[..., str] = content_hash) -> str:
    """Hash of all that `load_block` loads for a block of split seeds: logits, split masks, checkpoint facts.

    Args:
        layout: of the study.
        seeds: the block.
        hash_of: content hash of files, which may remember what it has read.

    Raises:
        OSError: a file of the block is missing.
    """
    files = [layout.logits(seed) for seed in seeds] + [layout.split_mask(seed) for seed in seeds]
    # Of the training logs only what is loaded counts: the rest says which models were trained together.
    entries = [_checkpoint_facts(layout.training_log(seed)) for seed in seeds]
    facts = json.dumps(entries, sort_keys=True)
    return hashlib.sha256(f"{hash_of(*files)} {facts}".encode()).hexdigest()[:32]


def load_parquet(connection: duckdb.DuckDBPyConnection, table: str, path: Path, *, where: dict) -> int:
    """Load a Parquet file that has a table's columns but for those fixed by `where`.

    Args:
        connection: a connection of `publish`.
        table: name of the table.
        path: the file.
        where: column -> value: the slice that the file holds.

    Returns:
        Number of rows.
    """
    fixed = "".join(f"? AS {column}, " for column in where)
    query = f"SELECT {fixed}* FROM read_parquet(?, hive_partitioning = false)"
    return replace_rows(connection, table, query, [*where.values(), str(path)], where=where)


def _checkpoint_facts(training_log: Path) -> list[dict]:
    found = read_json(training_log)
    entries = found.get("checkpoints") if isinstance(found, dict) else None
    whole = isinstance(entries, list) and all(
        isinstance(entry, dict) and entry.keys() >= {"epoch", "step", "learning_rate"} for entry in entries
    )
    if not entries or not whole:
        raise DamagedFileError(
            f"{training_log} does not tell of checkpoints any more; remove it and materialize its asset again"
        )
    return entries


def _existing(layout: Layout, step: str, seed: int | None = None) -> Path:
    path = layout.output(step, seed)
    if not path.is_file():
        which = "" if seed is None else f" of seed {seed}"
        raise WarehouseError(f"{path} is missing: materialize {layout.study}/{step}{which} first")
    return path
