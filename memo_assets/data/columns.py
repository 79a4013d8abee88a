"""Columns of a user's or a hub's rows to text, label and options.

What belongs here: what a study's column settings mean, whatever file the rows come from. What does not: reading files
(`table`, `hub`), whether the values make sense (`items.check_items`).
"""

from string import ascii_uppercase
from typing import Any

import pandas as pd

from memo_assets.config import HubData, TableData
from memo_assets.data.errors import DataError


def wanted_columns(data: TableData | HubData) -> list[str]:
    """Names of the columns that a study reads, each once."""
    return list(
        dict.fromkeys(
            name for name in (data.text, data.label, data.choices, data.id, data.group) if name is not None
        )
    )


def items_of(columns: dict[str, list], data: TableData | HubData, row_ids: list[str]) -> pd.DataFrame:
    """Rows as items.

    Args:
        columns: the wanted columns, as read.
        data: what they mean.
        row_ids: ids of the rows, for studies that name no column of ids, and for errors.

    Returns:
        Columns item_id, text, label, options, and choices and item_group where the study names them. Values are not
        checked yet.

    Raises:
        DataError: a label that is a number and counts no option, or choices that are none.
    """
    labels, rows = columns[data.label], len(row_ids)
    made: dict[str, list] = {
        "item_id": row_ids if data.id is None else [_id(value) for value in columns[data.id]],
        "text": columns[data.text],
    }
    if data.choices is not None:
        choices = columns[data.choices]
        for row, value in zip(row_ids, choices, strict=True):
            if not isinstance(value, list) and not (
                isinstance(value, dict) and all(isinstance(value.get(k), list) for k in ("text", "label"))
            ):
                raise DataError(
                    f"row {row}: column {data.choices!r} holds {str(value)[:60]!r}; expected a list of texts, or a record "
                    "of the lists text and label"
                )
        made["options"] = [_letters(value) for value in choices]
        made["choices"] = [_texts(value) for value in choices]
    else:
        options = data.options or sorted({label for label in labels if isinstance(label, str)})
        made["options"] = [options] * rows
    counted = data.choices is not None or data.options is not None
    made["label"] = [
        _label(label, options, row) if counted else label
        for label, options, row in zip(labels, made["options"], row_ids, strict=True)
    ]
    if data.group is not None:
        made["item_group"] = [None if value is None else str(value) for value in columns[data.group]]
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in made.items()})


def _letters(choices: Any) -> list[str]:
    """What stands for each choice: labels of their own, as ARC has them, or letters."""
    return [*choices["label"]] if isinstance(choices, dict) else [*ascii_uppercase[: len(choices)]]


def _texts(choices: Any) -> list[str]:
    return [*(choices["text"] if isinstance(choices, dict) else choices)]


def _label(label: Any, options: list[str], row: str) -> Any:
    """The option that a label stands for: numbers count the options from 0.

    Where options are numbers themselves, a number could mean either: it stays, and the checks refuse it.
    """
    if not isinstance(label, int) or isinstance(label, bool) or any(option.isdigit() for option in options):
        return label
    if not 0 <= label < len(options):
        raise DataError(
            f"row {row}: label {label} counts from 0, but there are {len(options)} options, {options}"
        )
    return options[label]


def _id(value: object) -> object:
    """Whole numbers are fine as ids; anything else stays for the checks to judge."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
