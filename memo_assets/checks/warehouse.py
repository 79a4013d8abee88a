"""The check that the warehouse's tables have the rows of the files that they are loaded from.

What belongs here: counting rows on both sides. What does not: loading (`store.load`).
"""

from collections.abc import Sequence

import duckdb
import pyarrow.parquet as pq

from memo_assets.checks.verdict import Verdict, not_judged, seeds_named
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout


def rows_of_tables(connection: duckdb.DuckDBPyConnection, layout: Layout, tables: Sequence[str]) -> Verdict:
    """Whether a study's rows of some tables are as many as those of their Parquet files.

    Args:
        connection: on the warehouse.
        layout: where the files lie.
        tables: names of tables; `samples`, or tables that an asset computes.
    """
    files = {name: layout.samples if name == "samples" else layout.table(name) for name in tables}
    counts = {
        name: (_count(connection, name, layout.study), pq.read_metadata(file).num_rows)
        for name, file in files.items()
    }
    facts = {f"{name}_rows": there for name, (there, _) in counts.items()}
    wrong = [
        f"{name} has {there}, its file {wanted}"
        for name, (there, wanted) in counts.items()
        if there != wanted
    ]
    if wrong:
        return Verdict(
            passed=False,
            sentence=f"rows in the warehouse that are not those of the files: {'; '.join(wrong)}. Materialize this asset again",
            facts=facts,
        )
    said = ", ".join(f"{name} {there}" for name, (there, _) in counts.items())
    return Verdict(
        passed=True, sentence=f"as many rows in the warehouse as in the files: {said}", facts=facts
    )


def rows_of_seeds(connection: duckdb.DuckDBPyConnection, layout: Layout, seeds: Sequence[int]) -> Verdict:
    """Whether each model has as many rows of `logits`, `split_masks` and `checkpoints` as in its files.

    Args:
        connection: on the warehouse.
        layout: where the files lie.
        seeds: split seeds to judge.
    """
    seeds = sorted(seeds)
    if not seeds:
        return not_judged("no block of split seeds has been recorded")
    wanted = {
        "logits": {seed: pq.read_metadata(layout.logits(seed)).num_rows for seed in seeds},
        "split_masks": {seed: pq.read_metadata(layout.split_mask(seed)).num_rows for seed in seeds},
        "checkpoints": {seed: len(read_json(layout.training_log(seed))["checkpoints"]) for seed in seeds},
    }
    facts, problems, at_fault = {}, [], set()
    for table, rows in wanted.items():
        query = f"SELECT split_seed, count(*) FROM {table} WHERE study = ? GROUP BY split_seed"
        there = dict(connection.execute(query, [layout.study]).fetchall())
        wrong = [seed for seed in seeds if there.get(seed, 0) != rows[seed]]
        facts[f"{table}_rows"] = sum(there.get(seed, 0) for seed in seeds)
        if wrong:
            first = wrong[0]
            problems.append(
                f"{table} of {seeds_named(wrong)} ({there.get(first, 0)} rows of seed {first}, its file has {rows[first]})"
            )
            at_fault.update(wrong)
    if problems:
        return Verdict(
            passed=False,
            sentence=f"rows in the warehouse that are not those of the files: {'; '.join(problems)}. Materialize "
            "shadow_logits of these seeds again",
            facts=facts,
            seeds=tuple(sorted(at_fault)),
        )
    said = ", ".join(f"{name.removesuffix('_rows')} {count}" for name, count in facts.items())
    return Verdict(
        passed=True,
        sentence=f"as many rows of {len(seeds)} models in the warehouse as in the files: {said}",
        facts=facts,
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str, study: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE study = ?", [study]).fetchone()
    assert row is not None
    return row[0]
