"""Warehouse rows as matrices: models x samples, in the order of split seed and sample_id.

What belongs here: reading slices of `logits` and `split_masks` into numpy arrays, and refusing incomplete ones. Rows are read
some models at a time, so that a matrix takes its own size and little else, however many models there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np

from memo_assets.store.tables import WarehouseError

_ROWS = 2_000_000  # read at a time


@dataclass(frozen=True)
class Shadows:
    """Outputs of all models on the samples of one part (pool or test) at one checkpoint.

    Attributes:
        gaps: float32 [S, N], logit gaps as they are stored.
        losses: float32 [S, N], nats.
    """

    gaps: np.ndarray
    losses: np.ndarray


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
    n = len(_ids(connection, study, part))
    query = """
        SELECT split_seed, logit_gap AS gap, loss
        FROM logits JOIN samples USING (study, sample_id)
        WHERE study = ? AND epoch = ? AND split_seed >= ? AND split_seed < ? AND part = ?
        ORDER BY split_seed, sample_id
    """
    found = Shadows(*(np.empty((n_models, n), np.float32) for _ in range(2)))
    counts = np.zeros(n_models, np.int64)
    for first, end in _models_at_a_time(n_models, n):
        rows = connection.execute(query, [study, epoch, first, end, part]).fetchnumpy()
        counts += np.bincount(np.asarray(rows["split_seed"]), minlength=n_models)
        if (counts[first:end] == n).all():
            found.gaps[first:end] = np.asarray(rows["gap"]).reshape(-1, n)
            found.losses[first:end] = np.asarray(rows["loss"]).reshape(-1, n)
    _require_complete(counts, n, f"study {study}, epoch {epoch:g}", f"just one row per {part} sample ({n})")
    return found


def query_gaps_at(
    connection: duckdb.DuckDBPyConnection, study: str, epoch: float, n_models: int, n_queries: int
) -> np.ndarray:
    """float32 [S, N, A], logit gaps of all models on every query of the pool's images at one checkpoint.

    Raises:
        WarehouseError: a model lacks queries, or has others than these.
    """
    n = len(_ids(connection, study, "pool"))
    query = """
        SELECT split_seed, query_gaps FROM logits JOIN samples USING (study, sample_id)
        WHERE study = $study AND epoch = $epoch AND split_seed >= $first AND split_seed < $end AND part = 'pool'
            AND len(query_gaps) = $queries
        ORDER BY split_seed, sample_id
    """
    found, counts = np.empty((n_models, n, n_queries), np.float32), np.zeros(n_models, np.int64)
    for first, end in _models_at_a_time(n_models, n * n_queries):
        values = {"study": study, "epoch": epoch, "first": first, "end": end, "queries": n_queries}
        rows = connection.sql(query, params=values).to_arrow_table()
        counts += np.bincount(rows.column("split_seed").to_numpy(), minlength=n_models)
        if (counts[first:end] == n).all():
            flat = rows.column("query_gaps").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            found[first:end] = flat.reshape(-1, n, n_queries)
    wanted = f"{n_queries} query gaps for every image of the pool"
    _require_complete(counts, n, f"study {study}, epoch {epoch:g}", wanted)
    return found


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
