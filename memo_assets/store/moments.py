"""What is read from the files of a block of models while DuckDB loads them: moments of their logit gaps, order of their rows.

What belongs here: number, mean and spread of the gaps of a block's models with and without each sample. What does not:
merging blocks, which the macro `log_lira_of` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class BlockRead:
    """What reading the files of a block has shown.

    Attributes:
        moments: rows of the table `logit_moments` but for the study and the block, one per checkpoint and sample.
        keys_rise: whether each file holds rows of its own seed alone, with rising checkpoints and rising samples in each:
            then no key of the table `logits` comes twice.
    """

    moments: pa.Table
    keys_rise: bool


def read_block(seeds: Sequence[int], logits: Sequence[Path], masks: Sequence[Path]) -> BlockRead:
    """Read the files of a block.

    Args:
        seeds: the block's split seeds.
        logits: the models' files of logits; the rows of a checkpoint stand together.
        masks: their split masks.

    Raises:
        WarehouseError: two models have other samples, or have them in another order, at the same checkpoint.
    """
    keys_rise = True
    asked: dict[float, tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]] = {}
    first_path: dict[float, Path] = {}
    for seed, path, mask in zip(seeds, logits, masks, strict=True):
        (trained,) = _columns(mask, "sample_id")
        seeds_of_rows, epochs, sample_ids, gaps = _columns(
            path, "split_seed", "epoch", "sample_id", "logit_gap"
        )
        keys_rise &= bool((seeds_of_rows == seed).all())
        ids, inside, before = np.empty(0, np.int64), np.empty(0, bool), -np.inf
        for start, stop in pairwise(np.flatnonzero(np.diff(epochs, prepend=np.nan, append=np.nan))):
            epoch = float(epochs[start])
            if not np.array_equal(ids, sample_ids[start:stop]):
                ids = sample_ids[start:stop]
                inside = np.isin(ids, trained)
                keys_rise &= bool((np.diff(ids) > 0).all())
            keys_rise &= epoch > before
            before = epoch
            of_first, of_models, members = asked.setdefault(epoch, (ids, [], []))
            other = first_path.setdefault(epoch, path)
            if not np.array_equal(ids, of_first):
                raise WarehouseError(
                    f"{path} holds other samples at epoch {epoch:g} than {other}: materialize logits of both seeds again"
                )
            of_models.append(gaps[start:stop])
            members.append(inside)
    return BlockRead(_rows(asked), keys_rise)


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
