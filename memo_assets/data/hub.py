"""A data set of the Hugging Face hub, or a directory that the library `datasets` saved.

What belongs here: getting the rows, and turning each row's columns into text, label and options. What does not: whether
the values make sense (`items.check_items`).
"""

from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import pandas as pd

from memo_assets.config import HubData
from memo_assets.config.data import SPLIT_PIECE
from memo_assets.data.errors import DataError, DataMissingError

if TYPE_CHECKING:
    from datasets import Dataset


def load_hub(data: HubData) -> pd.DataFrame:
    """Read the rows of a study, split after split; the position in that order becomes sample_id.

    Args:
        data: the data set and its columns.

    Returns:
        Columns item_id (split and row, as in train/17), text, label, options, and choices where rows have their own.
        Values are not checked yet.

    Raises:
        DataMissingError: the data set is not on this machine and the hub cannot be asked.
        DataError: an unknown split or column, a split that is too short, a label that stands for no option.
    """
    frames = []
    for piece in data.splits:
        match = SPLIT_PIECE.fullmatch(piece)
        assert match is not None
        split, first = match[1], None if match[2] is None else int(match[2])
        rows = _split(data, split)
        wanted = [name for name in (data.text, data.label, data.choices) if name is not None]
        lacking = [name for name in wanted if name not in rows.column_names]
        if lacking:
            raise DataError(f"{data.name}: column {lacking[0]!r} is missing; it has {rows.column_names}")
        if first is not None:
            if first > len(rows):
                raise DataError(f"{data.name}: data.splits asks for {piece}, but it has {len(rows)} rows")
            rows = rows.select(range(first))
        frame = pd.DataFrame({name: rows[name][:] for name in wanted}, dtype=object)
        frame["item_id"] = [f"{split}/{row}" for row in range(len(frame))]
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    made = pd.DataFrame({"item_id": frame["item_id"], "text": frame[data.text]}, dtype=object)
    made["options"] = pd.Series(
        [data.options] * len(frame) if data.choices is None else [*map(_letters, frame[data.choices])],
        dtype=object,
    )
    if data.choices is not None:
        made["choices"] = pd.Series([*map(_texts, frame[data.choices])], dtype=object)
    made["label"] = pd.Series(
        [
            _label(label, options, item)
            for label, options, item in zip(frame[data.label], made["options"], made["item_id"], strict=True)
        ],
        dtype=object,
    )
    return made


def _letters(choices: Any) -> list[str]:
    """What stands for each choice: labels of their own, as ARC has them, or letters."""
    return [*choices["label"]] if isinstance(choices, dict) else [*ascii_uppercase[: len(choices)]]


def _texts(choices: Any) -> list[str]:
    return [*(choices["text"] if isinstance(choices, dict) else choices)]


def _label(label: Any, options: list[str], item: str) -> Any:
    """The option that a label stands for: numbers count the options from 0."""
    if not isinstance(label, int) or isinstance(label, bool):
        return label
    if not 0 <= label < len(options):
        raise DataError(
            f"row {item}: label {label} counts from 0, but there are {len(options)} options, {options}"
        )
    return options[label]


def _split(data: HubData, split: str) -> "Dataset":
    """All rows of one split."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    if not Path(data.name).is_dir():
        try:
            rows: Any = load_dataset(
                data.name, data.config, split=split, revision=data.revision, data_dir=data.folder
            )
        except OSError as error:  # the library's errors of network and cache are all of this kind
            at = f" at revision {data.revision}" if data.revision else ""
            raise DataMissingError(
                f"data set {data.name}{at} is not on this machine ({_first_line(error)}): run `memo fetch STUDY` where "
                "there is internet, or correct data.name"
            ) from error
        except (ValueError, RuntimeError) as error:  # no such configuration or split, or code instead of data
            raise DataError(f"data set {data.name}: {_first_line(error)}") from error
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
                f"{data.name} has no split {split!r}: data.splits may name {', '.join(map(str, saved))}"
            )
        return saved[split]
    raise DataError(f"{data.name} holds one split without a name: save a DatasetDict with its splits")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
