"""A table of the user's own: CSV, JSON Lines or Parquet.

What belongs here: reading the columns of a study exactly as they are written, no value guessed, converted or
dropped. What does not: whether the values make sense (`items.check_items`).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from memo_assets.config import TableData
from memo_assets.data.columns import items_of, wanted_columns
from memo_assets.data.errors import DataError
from memo_assets.data.origin import table_file

Columns = dict[str, list]
_HALF = re.compile("[\ud800-\udfff]")


def load_table(data: TableData, base_dir: Path) -> pd.DataFrame:
    """Read the columns of a study from a file, one row a sample, in the order of the file.

    CSV: comma, double quotes, a header line, UTF-8; every value is a string, an empty cell an empty string.
    JSON Lines and Parquet keep their types, so that a number in the text or label column is found out.

    Args:
        data: the file and its columns.
        base_dir: what a relative path is relative to.

    Returns:
        Columns as of `columns.items_of`; without a column of ids they are row numbers from 0, and without options those
        are the sorted labels of the file. Values are not checked yet.

    Raises:
        DataError: no such file, unknown kind of file, unreadable file, or a column that is missing.
    """
    path = table_file(data, base_dir)
    columns = _read(path, wanted_columns(data))
    return items_of(columns, data, [str(row) for row in range(len(columns[data.label]))])


def read_columns(path: Path) -> Columns:
    """Read all columns of a file as `load_table` reads those of a study, by name in the order of the file.

    Args:
        path: a CSV, JSON Lines or Parquet file.

    Raises:
        DataError: no such file, unknown kind of file, unreadable file, or two columns of one name.
    """
    if not path.is_file():
        raise DataError(f"no file {path}: correct the path")
    return _read(path, None)


def _read(path: Path, wanted: list[str] | None) -> Columns:
    """Some columns of a file, or all."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: expected a name that ends in one of {', '.join(_READERS)}; convert the file"
        )
    try:
        return reader(path, wanted)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]}: {error}") from error


def _read_csv(path: Path, wanted: list[str] | None) -> Columns:
    if not path.stat().st_size:
        raise DataError(f"{path} is empty: expected a header line and rows")
    parse = csv.ParseOptions(newlines_in_values=True)
    if wanted is None:
        reader = csv.open_csv(path, parse_options=parse)
        wanted = list(reader.schema.names)
        reader.close()
    table = csv.read_csv(
        path,
        parse_options=parse,
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
        ),
    )
    return _pick(table, wanted, path)


def _read_parquet(path: Path, wanted: list[str] | None) -> Columns:
    table = pq.read_table(path)
    return _pick(table, table.column_names if wanted is None else wanted, path)


def _read_jsonl(path: Path, wanted: list[str] | None) -> Columns:
    records: list[dict] = []
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: not valid JSON ({error.msg}): write one object per line"
            ) from error
        except (
            ValueError,
            RecursionError,
        ) as error:  # a number of thousands of digits, lists in lists in lists
            raise DataError(f"{path}:{number}: cannot be read as JSON ({error}): correct the line") from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}:{number}: expected a JSON object with column names as keys, given {line[:40]!r}"
            )
        if "\\u" in line and _HALF.search(json.dumps(record, ensure_ascii=False)):
            raise DataError(
                f"{path}:{number}: holds half of a surrogate pair, which is no text: write the whole character"
            )
        records.append(record)
    if wanted is None:
        wanted = list(dict.fromkeys(key for record in records for key in record))
    _require(wanted, sorted({key for record in records for key in record}) if records else wanted, path)
    return {name: [record.get(name) for record in records] for name in wanted}


def _pick(table: pa.Table, wanted: list[str], path: Path) -> Columns:
    _require(wanted, table.column_names, path)
    return {name: table.column(name).to_pylist() for name in wanted}


def _require(wanted: list[str], found: list[str], path: Path) -> None:
    for name in wanted:
        if found.count(name) != 1:
            given = "no" if name not in found else "more than one"
            raise DataError(
                f"{path} has {given} column {name!r}: its columns are {', '.join(map(repr, found)) or 'none'}; "
                f"set data.text, data.label and data.id to names from that list"
            )


_READERS: dict[str, Callable[[Path, list[str] | None], Columns]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
