"""Is a warehouse that went through faults the same as an undisturbed one?

What belongs here: tables, keys, files of results and what must not be left of attempts that ended early.
"""

from pathlib import Path

import duckdb

from benchmarks.compare_warehouses import differing
from memo_assets.store.files import content_hash
from memo_assets.store.layout import DATABASE_NAME
from memo_assets.store.schema import TABLES

_RESULTS = ("samples.parquet", "split_masks", "adapters", "logits", "layer_scores", "tables")
# Beside the weights there is a note of which models were trained together, which a kill may change, and PEFT's of where the
# base model lies, which is the path of the warehouse.
_OF_RUN = ("training.json", "adapter_config.json")


def assert_same(found: Path, wanted: Path, study: str) -> None:
    """Two warehouse directories hold the same tables and the same files of results of a study.

    Args:
        found: the warehouse that went through faults.
        wanted: that of an undisturbed run.
        study: name of the study.
    """
    rows = differing(wanted, found)
    assert {table: found for table, found in rows.items() if found[1]} == {}
    assert rows["logits"][0] > 0
    assert rows["predictor_evaluation"][0] > 0
    assert repeated_keys(found) == {}
    assert unfinished(found, study) == []
    hashes = [
        {str(path.relative_to(warehouse)): content_hash(path) for path in _files(warehouse, study)}
        for warehouse in (found, wanted)
    ]
    assert hashes[0] == hashes[1]
    assert (found / "artifacts" / study / "report.html").stat().st_size > 0


def repeated_keys(warehouse: Path) -> dict[str, int]:
    """Number of rows beyond the first of their key, by table; tables without any are left out."""
    with duckdb.connect(warehouse / DATABASE_NAME, read_only=True) as connection:
        found = {}
        for name, table in TABLES.items():
            key = ", ".join(table.key)
            row = connection.execute(
                f"SELECT count(*) - (SELECT count(*) FROM (SELECT DISTINCT {key} FROM {name})) FROM {name}"
            ).fetchone()
            assert row is not None
            found[name] = row[0]
    return {name: rows for name, rows in found.items() if rows}


def _files(warehouse: Path, study: str) -> list[Path]:
    below = warehouse / "artifacts" / study
    paths = [path for name in _RESULTS for path in (below / name, *(below / name).rglob("*"))]
    return [path for path in paths if path.is_file() and path.name[0] != "." and path.name not in _OF_RUN]


def unfinished(warehouse: Path, study: str) -> list[str]:
    """Files of attempts that did not end, where results are: partial ones, and copies of the database."""
    below = warehouse / "artifacts" / study
    strange = [
        path
        for folder in _RESULTS
        for path in (below / folder).rglob("*")
        if path.name.endswith((".partial", ".old")) or (path.suffix == ".tmp" and path.name[0] != ".")
    ]
    copies = [path for path in warehouse.glob(f".{DATABASE_NAME}.*") if path.name != f".{DATABASE_NAME}.lock"]
    return [str(path.relative_to(warehouse)) for path in (*strange, *copies)]
