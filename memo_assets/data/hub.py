"""A data set of the Hugging Face hub, or a directory that the library `datasets` saved.

What belongs here: getting the rows. What does not: where they lie (`hub_cache`), what their columns mean (`columns`,
`images`), whether the values make sense (`items.check_items`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from memo_assets.config import HubData, HubRows
from memo_assets.config.data import SPLIT_PIECE
from memo_assets.data.columns import items_of, wanted_columns
from memo_assets.data.errors import DataError
from memo_assets.data.hub_cache import snapshot

if TYPE_CHECKING:
    from datasets import Dataset


def load_hub(data: HubData) -> pd.DataFrame:
    """Read the rows of a study, split after split; the position in that order becomes sample_id.

    Args:
        data: the data set and its columns.

    Returns:
        Columns as of `columns.items_of`; item_id is split and row, as in train/17, unless there is a column of ids.

    Raises:
        DataMissingError: the data set is not on this machine and the hub cannot be asked.
        DataError: an unknown split or column, a split that is too short, a label that stands for no option.
    """
    wanted, frames = wanted_columns(data), []
    for piece in data.splits:
        rows = read_piece(data, piece, wanted)
        columns = {name: rows[name][:] for name in wanted}
        frames.append(items_of(columns, data, row_ids(piece, len(rows))))
    return pd.concat(frames, ignore_index=True)


def read_piece(data: HubRows, piece: str, wanted: Sequence[str], *, field: str = "splits") -> "Dataset":
    """Rows of one split, or the first of them.

    Args:
        data: the data set.
        piece: the split as the study names it, such as train[:1000].
        wanted: names of columns that must be there.
        field: field of the study's data that names the split.

    Raises:
        DataMissingError: the data set is not on this machine and the hub cannot be asked.
        DataError: an unknown split or column, or a split that is too short.
    """
    match = SPLIT_PIECE.fullmatch(piece)
    assert match is not None
    split, first = match[1], None if match[2] is None else int(match[2])
    rows = _split(data, split, field).with_format(None)  # a directory keeps the format it was saved with
    lacking = [name for name in wanted if name not in rows.column_names]
    if lacking:
        raise DataError(f"{data.name}: column {lacking[0]!r} is missing; it has {rows.column_names}")
    if first is None:
        return rows
    if first > len(rows):
        raise DataError(f"{data.name}: data.{field} asks for {piece}, but it has {len(rows)} rows")
    return rows.select(range(first))


def row_ids(piece: str, rows: int) -> list[str]:
    """Split and row from 0, such as train/17, of the rows of `read_piece`."""
    return [f"{piece.partition('[')[0]}/{row}" for row in range(rows)]


def _split(data: HubRows, split: str, field: str) -> "Dataset":
    """All rows of one split."""
    from datasets import DatasetDict, load_dataset, load_from_disk
    from datasets.exceptions import DatasetGenerationError

    if not Path(data.name).is_dir():
        folder = snapshot(data)
        try:
            # From the files of that very commit: by its name the library would take any copy that its cache has.
            rows: Any = load_dataset(str(folder), data.config, split=split, data_dir=data.folder)
        except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:
            # No such configuration or split, code instead of data, damaged files.
            raise DataError(f"data set {data.name} at commit {folder.name}: {_first_line(error)}") from error
        return rows
    try:
        saved: Any = load_from_disk(data.name)
    except OSError as error:
        raise DataError(
            f"the directory {data.name} is none that save_to_disk made: {_first_line(error)}"
        ) from error
    if isinstance(saved, DatasetDict):
        if split not in saved:
            raise DataError(
                f"{data.name} has no split {split!r}: data.{field} may name {', '.join(map(str, saved))}"
            )
        return saved[split]
    raise DataError(f"{data.name} holds one split without a name: save a DatasetDict with its splits")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
