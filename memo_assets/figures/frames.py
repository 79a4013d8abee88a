"""Checks on the data frames that figures are given.

What belongs here: errors that name what is missing. What does not: anything drawn.
"""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import pandas as pd


def require_columns(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise ValueError that names the columns that `frame`, called `what`, lacks."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{what} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, frame.columns)) or 'none'}"
        )


def require_values(frame: pd.DataFrame, column: str, allowed: Iterable[str], *, what: str) -> None:
    """Raise ValueError that names the values of a column that the figure has no place for."""
    allowed = list(allowed)
    unknown = sorted(set(frame[column].astype(str).unique()) - set(allowed))
    if unknown:
        raise ValueError(f"{what}: column {column} holds {unknown}; expected only {allowed}")


def finite(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The rows whose values in all these columns are finite numbers, the columns as float64."""
    columns = list(columns)
    numbers = frame[columns].astype("float64")
    keep = np.asarray(np.isfinite(numbers.to_numpy()).all(axis=1))
    return frame.assign(**{column: numbers[column] for column in columns}).loc[keep]


def by_predictor(frame: pd.DataFrame) -> Iterator[tuple[str, int | None, pd.DataFrame]]:
    """Yield (predictor, layer or None, its rows) in the order of first appearance."""
    layers = frame["layer"].astype("Float64")
    for key, rows in frame.groupby([frame["predictor"], layers], dropna=False, sort=False):
        name, layer = cast("tuple[str, Any]", key)
        yield str(name), None if pd.isna(layer) else int(layer), rows
