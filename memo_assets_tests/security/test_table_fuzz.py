"""Data tables of any content: items equal to what was written, or a `DataError`; never another exception."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memo_assets.config import TableData
from memo_assets.data.errors import DataError
from memo_assets.data.items import MIN_ROWS, load_items
from memo_assets.data.table import read_columns

_BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # each example writes its own file
)
TRICKY = [
    "", " ", "\0", 'a "quoted" text', '"', "line\nbreak", "line\r\nbreak", "\r", "a,b;c\td", "שלום עולם", "\u202eabc", "👩‍👩‍👧", "é", "e\u0301",
    "\u2028", "\ufeff", "NA", "null", "NaN", "1e5", "007", "True", "=cmd()", "{text}", "x" * 70_000, "\u0085", "\x1a", "'", "\\", "\\n",
]  # fmt: skip
TEXTS = st.sampled_from(TRICKY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.sampled_from(["a", "b", "שלום", "👍", "NA", "0", 'a "b"', "a,b", "a\nb"])
ROWS = st.lists(st.tuples(TEXTS, LABELS), min_size=MIN_ROWS, max_size=MIN_ROWS + 6)
KINDS = st.sampled_from(["csv", "jsonl", "parquet"])
DATA = {
    kind: TableData(source="table", path=f"rows.{kind}", text="text", label="label")
    for kind in ("csv", "jsonl", "parquet")
}


def write(folder: Path, kind: str, rows: list[tuple[str, str]]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("text", "label"), *rows])
    elif kind == "jsonl":
        lines = [
            json.dumps({"text": text, "label": label}, ensure_ascii=len(text) % 2 == 0)
            for text, label in rows
        ]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
    else:
        texts, labels = zip(*rows, strict=True)
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    return path


@_BOUNDED
@given(kind=KINDS, rows=ROWS)
@example(kind="csv", rows=[(text, "ab"[i % 2]) for i, text in enumerate(TRICKY)])
@example(kind="jsonl", rows=[(text or "-", "ab"[i % 2]) for i, text in enumerate(TRICKY)])
@example(kind="csv", rows=[(text.strip() or "-", "ab"[i % 2]) for i, text in enumerate(TRICKY)])
@example(kind="parquet", rows=[(text.strip() or "-", "ab"[i % 2]) for i, text in enumerate(TRICKY)])
def test_items_are_what_was_written_or_one_error(
    tmp_path: Path, kind: str, rows: list[tuple[str, str]]
) -> None:
    write(tmp_path, kind, rows)
    usable = all(text.strip() for text, _ in rows) and len(Counter(label for _, label in rows)) > 1
    try:
        frame = load_items(DATA[kind], 0, tmp_path).frame
    except DataError:
        assert not usable
        return
    assert usable
    assert frame["text"].tolist() == [text for text, _ in rows]
    assert frame["label"].tolist() == [label for _, label in rows]
    assert frame["item_id"].tolist() == [str(row) for row in range(len(rows))]
    assert set(frame["options"].iloc[0]) == {label for _, label in rows}
    stored = io.BytesIO()  # what is accepted can be stored
    pq.write_table(pa.Table.from_pandas(frame[["text", "label"]], preserve_index=False), stored)
    assert pq.read_table(stored).column("text").to_pylist() == frame["text"].tolist()


@_BOUNDED
@given(kind=KINDS, content=st.binary(max_size=80))
@example(kind="jsonl", content=b"[" * 100_000)
@example(kind="jsonl", content=b'{"text": ' + b"1" * 5000 + b"}")
@example(kind="jsonl", content=b'{"text": "\\ud800", "label": "a"}')
@example(kind="jsonl", content=b'{"text": NaN, "label": [1]}')
@example(kind="parquet", content=b"PAR1" + bytes(100) + b"PAR1")
@example(kind="csv", content=b"text,text,label\n1,2,3\n")
@example(kind="csv", content=b'text,label\n"a')
def test_any_bytes_are_one_error(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / f"rows.{kind}").write_bytes(content)
    with pytest.raises(DataError, match="rows"):
        load_items(DATA[kind], 0, tmp_path)


@_BOUNDED
@given(kind=KINDS, place=st.floats(0, 1), inserted=st.binary(min_size=1, max_size=3))
def test_a_garbled_table_is_read_or_one_error(
    tmp_path: Path, kind: str, place: float, inserted: bytes
) -> None:
    path = write(tmp_path, kind, [(f"text {row}", "ab"[row % 2]) for row in range(MIN_ROWS)])
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + inserted + content[at + len(inserted) :])
    for read in (lambda: load_items(DATA[kind], 0, tmp_path), lambda: read_columns(path)):
        try:
            read()
        except DataError as error:
            assert "rows" in str(error)  # noqa: PT017


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@_BOUNDED
@given(odd=JSON, column=st.sampled_from(["text", "label", "id"]))
def test_a_value_of_another_type_is_named_and_not_converted(tmp_path: Path, odd: object, column: str) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"text {row}", "label": "ab"[row % 2], "id": f"i{row}"} for row in range(MIN_ROWS)
    ]
    rows[3] |= {column: odd}
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    data = DATA["jsonl"].model_copy(update={"id": "id"})
    try:
        frame = load_items(data, 0, tmp_path).frame
    except DataError:
        assert not isinstance(odd, str) or not odd.strip() or column == "label" or "\\ud" in json.dumps(odd)
        return
    name = "item_id" if column == "id" else column
    expected = str(odd) if column == "id" and isinstance(odd, int) else odd
    assert frame[name].iloc[3] == expected
