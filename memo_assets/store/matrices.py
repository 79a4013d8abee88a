"""Warehouse rows as matrices: models x samples, in the order of split seed and sample_id.

What belongs here: reading slices of `logits` and `split_masks` into numpy arrays, and refusing incomplete ones. Rows are read
some models at a time, so that a matrix takes its own size and little else, however many models there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa

from memo_assets.store.tables import WarehouseError

_ROWS = 2_000_000  # read at a time


@dataclass(frozen=True)
class Shadows:
    """Outputs of all models on the samples of one part (pool or test) at one checkpoint.

    Attributes:
        gaps: float32 [S, N], logit gaps as they are stored.
        losses: float32 [S, N], nats.
        query_gaps: float32 [S, N, A], logit gaps on every query of the samples' images; None if they were not asked for.
    """

    gaps: np.ndarray
    losses: np.ndarray
    query_gaps: np.ndarray | None


@dataclass(frozen=True)
class Trajectory:
    """One model's outputs on its training samples at all checkpoints.

    Attributes:
        epochs: float64 [E], rising.
        sample_ids: int64 [N], rising.
        losses: float64 [E, N], nats.
        gaps: float64 [E, N].
        option_logits: float64 [E, N, C], -inf beyond a sample's options.
        given_index: int64 [N].
    """

    epochs: np.ndarray
    sample_ids: np.ndarray
    losses: np.ndarray
    gaps: np.ndarray
    option_logits: np.ndarray
    given_index: np.ndarray


def pool_ids(connection: duckdb.DuckDBPyConnection, study: str) -> np.ndarray:
    """int64 [N], ids of the pool's samples, rising.

    Raises:
        WarehouseError: the study has no samples in the warehouse.
    """
    return _ids(connection, study, "pool")


def _ids(connection: duckdb.DuckDBPyConnection, study: str, part: str) -> np.ndarray:
    query = "SELECT sample_id FROM samples WHERE study = ? AND part = ? ORDER BY sample_id"
    ids = np.asarray(connection.execute(query, [study, part]).fetchnumpy()["sample_id"])
    if not len(ids):
        raise WarehouseError(f"study {study} has no {part} samples in the warehouse; materialize its samples")
    return ids


def membership(connection: duckdb.DuckDBPyConnection, study: str, n_models: int) -> np.ndarray:
    """Bool [S, N], whether each model was trained on each pool sample.

    Raises:
        WarehouseError: a model has no training samples in the warehouse, or some that are not in the pool.
    """
    ids = pool_ids(connection, study)
    query = (
        "SELECT split_seed, sample_id FROM split_masks WHERE study = ? AND split_seed >= ? AND split_seed < ?"
    )
    inside, strangers = np.zeros((n_models, len(ids)), dtype=bool), {}
    for first, end in _models_at_a_time(n_models, len(ids)):
        rows = connection.execute(query, [study, first, end]).fetchnumpy()
        seeds, samples = np.asarray(rows["split_seed"]), np.asarray(rows["sample_id"])
        known = np.isin(samples, ids)
        inside[seeds[known], np.searchsorted(ids, samples[known])] = True
        strangers |= dict(zip(seeds[~known].tolist(), samples[~known].tolist(), strict=True))
    if strangers:
        raise WarehouseError(
            f"study {study}: the split masks of seeds {sorted(strangers)[:10]} ({len(strangers)} in all) name samples that "
            f"are not in the pool, such as {next(iter(strangers.values()))}; materialize split_masks and shadow_logits"
        )
    empty = np.flatnonzero(~inside.any(axis=1))
    if len(empty):
        raise WarehouseError(
            f"study {study}: no split mask of seeds {empty.tolist()}; materialize shadow_logits"
        )
    return inside


def shadows_at(
    connection: duckdb.DuckDBPyConnection,
    study: str,
    epoch: float,
    n_models: int,
    *,
    part: Literal["pool", "test"] = "pool",
) -> Shadows:
    """Logit gaps and losses of all models at one checkpoint, on the pool or on the test samples.

    Raises:
        WarehouseError: rows of a model are missing.
    """
    return _read(connection, study, epoch, n_models, parts=(part,))[0]


def pool_and_test_at(
    connection: duckdb.DuckDBPyConnection, study: str, epoch: float, n_models: int, *, n_queries: int = 0
) -> tuple[Shadows, Shadows]:
    """Outputs of all models at one checkpoint on the pool and on the test samples, in one pass over the rows.

    Args:
        connection: on the warehouse.
        study: name of the study.
        epoch: the checkpoint.
        n_models: split seeds from 0 on.
        n_queries: A, of the pool's images; 0 if none are asked for.

    Raises:
        WarehouseError: rows of a model are missing, or it lacks queries, or has others than these.
    """
    pool, test = _read(connection, study, epoch, n_models, parts=("pool", "test"), n_queries=n_queries)
    return pool, test


def _read(
    connection: duckdb.DuckDBPyConnection,
    study: str,
    epoch: float,
    n_models: int,
    *,
    parts: tuple[str, ...],
    n_queries: int = 0,
) -> list[Shadows]:
    """Outputs by part, the queries those of the first."""
    ids = [_ids(connection, study, part) for part in parts]
    columns = "split_seed, sample_id, logit_gap, loss" + (", query_gaps" if n_queries else "")
    query = (
        f"SELECT {columns} FROM logits WHERE study = ? AND epoch = ? AND split_seed >= ? AND split_seed < ?"
    )
    gaps, losses = ([np.empty((n_models, len(of)), np.float32) for of in ids] for _ in range(2))
    query_gaps = np.empty((n_models, len(ids[0]), n_queries), np.float32)
    counts, query_counts = np.zeros((len(parts), n_models), np.int64), np.zeros(n_models, np.int64)
    for first, end in _models_at_a_time(n_models, sum(map(len, ids)) * max(n_queries, 1)):
        rows = _in_order(connection.sql(query, params=[study, epoch, first, end]).to_arrow_table())
        models = slice(first, end)
        seeds, samples, gap, loss = (rows.column(i).to_numpy() for i in range(4))
        of_parts = [np.isin(samples, of) for of in ids]
        for place, chosen in enumerate(of_parts):
            counts[place] += np.bincount(seeds[chosen], minlength=n_models)
            if (counts[place, models] == len(ids[place])).all():
                gaps[place][models] = gap[chosen].reshape(-1, len(ids[place]))
                losses[place][models] = loss[chosen].reshape(-1, len(ids[place]))
        if n_queries:
            lists = rows.column("query_gaps").combine_chunks()
            lengths = lists.value_lengths().fill_null(0).to_numpy()
            asked = of_parts[0] & (lengths == n_queries)
            query_counts += np.bincount(seeds[asked], minlength=n_models)
            if (query_counts[models] == len(ids[0])).all():
                flat = (lists if (asked | (lengths == 0)).all() else lists.filter(pa.array(asked))).flatten()
                query_gaps[models] = flat.to_numpy(zero_copy_only=False).reshape(-1, len(ids[0]), n_queries)
    where = f"study {study}, epoch {epoch:g}"
    for part, of_part, n in zip(parts, counts, map(len, ids), strict=True):
        _require_complete(of_part, n, where, f"just one row per {part} sample ({n})")
    if n_queries:
        wanted = f"{n_queries} query gaps for every image of the pool"
        _require_complete(query_counts, len(ids[0]), where, wanted)
    queries = [query_gaps if n_queries else None, None][: len(parts)]
    return [Shadows(*of_part) for of_part in zip(gaps, losses, queries, strict=True)]


def _in_order(rows: pa.Table) -> pa.Table:
    """Rows by split seed and sample, as they mostly come: sorting takes longer than reading them."""
    seeds, samples = (rows.column(name).to_numpy() for name in ("split_seed", "sample_id"))
    rising = (seeds[1:] > seeds[:-1]) | ((seeds[1:] == seeds[:-1]) & (samples[1:] >= samples[:-1]))
    return rows if rising.all() else rows.sort_by([("split_seed", "ascending"), ("sample_id", "ascending")])


def _models_at_a_time(n_models: int, rows_of_each: int) -> Iterator[tuple[int, int]]:
    """First split seed and the one after the last, of models whose rows are read together."""
    step = max(1, _ROWS // max(rows_of_each, 1))
    for first in range(0, n_models, step):
        yield first, min(first + step, n_models)


def _require_complete(counts: np.ndarray, n: int, where: str, wanted: str) -> None:
    """Refuse numbers of rows [S] that are not n for each of the models."""
    wrong = np.flatnonzero(counts != n)
    if len(wrong):
        raise WarehouseError(
            f"{where}: seeds {wrong[:10].tolist()} ({len(wrong)} in all) have not {wanted}; materialize logits and "
            "shadow_logits of these seeds"
        )


def trajectory(connection: duckdb.DuckDBPyConnection, study: str, split_seed: int) -> Trajectory:
    """All checkpoints of one model on its own training samples.

    Raises:
        WarehouseError: the model is not in the warehouse or rows are missing.
    """
    query = """
        SELECT l.epoch, l.sample_id, l.loss::DOUBLE AS loss, l.logit_gap::DOUBLE AS gap, s.given_index,
               list_resize(l.option_logits, max(len(s.options)) OVER (), '-inf'::FLOAT) AS option_logits
        FROM logits l
        JOIN split_masks m USING (study, split_seed, sample_id)
        JOIN samples s ON s.study = l.study AND s.sample_id = l.sample_id
        WHERE l.study = ? AND l.split_seed = ?
        ORDER BY l.epoch, l.sample_id
    """
    table = connection.sql(query, params=[study, split_seed]).to_arrow_table()
    epochs, counts = np.unique(table.column("epoch").to_numpy(), return_counts=True)
    mask = "SELECT sample_id FROM split_masks WHERE study = ? AND split_seed = ?"
    n_train = len(connection.execute(mask, [study, split_seed]).fetchall())
    if not len(epochs) or set(counts.tolist()) != {n_train}:
        raise WarehouseError(
            f"study {study}: the rows of split seed {split_seed} are missing or incomplete; materialize its "
            "logits and its block of shadow_logits"
        )
    shape = (len(epochs), int(counts[0]))
    options = table.column("option_logits").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Trajectory(
        epochs=epochs,
        sample_ids=table.column("sample_id").to_numpy().reshape(shape)[0],
        losses=table.column("loss").to_numpy().reshape(shape),
        gaps=table.column("gap").to_numpy().reshape(shape),
        option_logits=options.astype(np.float64).reshape(*shape, -1),
        given_index=table.column("given_index").to_numpy().reshape(shape)[0].astype(np.int64),
    )
