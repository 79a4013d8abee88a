"""Moments of the logit gaps of a block of models, found from its files while it is loaded.

What belongs here: number, mean and spread of the gaps of a block's models with and without each sample. What does not:
merging blocks, which the macro `log_lira_of` does.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memo_assets.measures.lira import side_moments
from memo_assets.store.tables import WarehouseError

_SCHEMA = pa.schema(
    [
        ("epoch", pa.float64()),
        ("sample_id", pa.int64()),
        *[
            (f"{name}_{side}", kind)
            for side in ("in", "out")
            for name, kind in (("n", pa.int32()), ("mean", pa.float64()), ("sd", pa.float64()))
        ],
    ]
)


def moments_of_block(logits: Sequence[Path], masks: Sequence[Path]) -> pa.Table:
    """Rows of the table `logit_moments` from the files of a block, but for the study and the block.

    Args:
        logits: the models' files of logits; the rows of a checkpoint stand together.
        masks: their split masks, in the same order.

    Returns:
        One row per checkpoint and sample.

    Raises:
        WarehouseError: two models have other samples, or have them in another order, at the same checkpoint.
    """
    asked: dict[float, tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]] = {}
    for path, mask in zip(logits, masks, strict=True):
        (trained,) = _columns(mask, "sample_id")
        sample_ids, inside = np.empty(0, np.int64), np.empty(0, bool)
        for epoch, ids, gaps in _checkpoints(path):
            if not np.array_equal(ids, sample_ids):
                sample_ids, inside = ids, np.isin(ids, trained)
            of_first, of_models, members = asked.setdefault(epoch, (ids, [], []))
            if not np.array_equal(ids, of_first):
                raise WarehouseError(
                    f"{path} holds other samples at epoch {epoch:g} than {logits[0]}: materialize logits of both seeds again"
                )
            of_models.append(gaps)
            members.append(inside)
    return _rows(asked)


def _checkpoints(path: Path) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """(epoch, sample ids, logit gaps) of each checkpoint of a file."""
    epochs, sample_ids, gaps = _columns(path, "epoch", "sample_id", "logit_gap")
    bounds = np.flatnonzero(np.diff(epochs, prepend=np.nan, append=np.nan))
    for start, stop in pairwise(bounds):
        yield float(epochs[start]), sample_ids[start:stop], gaps[start:stop]


def _columns(path: Path, *names: str) -> list[np.ndarray]:
    with pq.ParquetFile(path) as file:  # `read_table` takes longer to get ready than to read
        table = file.read(columns=list(names), use_threads=False)
    return [table[name].to_numpy() for name in names]


def _rows(asked: dict[float, tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]]) -> pa.Table:
    tables = [_SCHEMA.empty_table()]
    for epoch, (sample_ids, gaps, members) in sorted(asked.items()):
        out_in = zip(*side_moments(np.stack(gaps), np.stack(members)), strict=True)
        (n_out, mean_out, sd_out), (n_in, mean_in, sd_in) = out_in
        columns = [np.full(len(sample_ids), epoch), sample_ids, n_in, mean_in, sd_in, n_out, mean_out, sd_out]
        tables.append(pa.table([pa.array(column) for column in columns], names=_SCHEMA.names).cast(_SCHEMA))
    return pa.concat_tables(tables)
