import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memo_assets.config import TableData
from memo_assets.data.errors import DataError
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.table import load_table
from memo_assets_tests.studies import TABLE, study


def table(path, **fields):
    defaults = {"text": "text", "label": "label", "options": None, "id": None}
    return TableData(source="table", path=path, **(defaults | fields))


def test_csv_values_stay_as_written(tmp_path):
    (tmp_path / "t.csv").write_text(
        'label,text,n\nNA,007,1\n1,"two\nlines, and ""quotes""",2\n2024-01-01,null,3\ntrue,Ünï,\n',
        encoding="utf-8-sig",
    )
    frame = load_table(table("t.csv"), tmp_path)
    assert frame["text"].tolist() == ["007", 'two\nlines, and "quotes"', "null", "Ünï"]
    assert frame["label"].tolist() == ["NA", "1", "2024-01-01", "true"]
    assert frame["item_id"].tolist() == ["0", "1", "2", "3"]
    assert frame["options"].iloc[0] == ["1", "2024-01-01", "NA", "true"]


def test_an_empty_cell_is_an_empty_string(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\n,a\nx,\n")
    frame = load_table(table("t.csv"), tmp_path)
    assert frame["text"].tolist() == ["", "x"]
    assert frame["label"].tolist() == ["a", ""]


def test_a_short_row_is_an_error_not_a_shift(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,b\nonly\n")
    with pytest.raises(DataError, match=r"t\.csv: cannot be read as csv: .*Expected 2 columns, got 1: only"):
        load_table(table("t.csv"), tmp_path)


def test_given_options_keep_their_order(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    assert load_table(table("t.csv", options=["z", "b"]), tmp_path)["options"].iloc[0] == ["z", "b"]


def test_jsonl_keeps_types_so_that_numbers_are_found_out(tmp_path):
    rows = [{"text": f"t{k}", "label": k % 2, "id": k} for k in range(24)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    frame = load_table(table("t.jsonl", id="id"), tmp_path)
    assert frame["item_id"].tolist()[:2] == ["0", "1"]
    with pytest.raises(DataError, match=r"24 rows, the first row 0 .*whose label is 0 \(int\), no string"):
        load_items(table("t.jsonl", id="id"), 0, tmp_path)


def test_jsonl_line_breaks_within_texts(tmp_path):
    text = "a\u2028b\x85c"  # separators that str.splitlines would take for line ends
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"text": text, "label": "x"}, ensure_ascii=False), encoding="utf-8"
    )
    assert load_table(table("t.jsonl"), tmp_path)["text"].tolist() == [text]


def test_a_key_that_some_records_lack_is_a_missing_value(tmp_path):
    rows = [{"text": f"t{k}", "label": "ab"[k % 2]} for k in range(24)]
    del rows[4]["label"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"row 4 from 0 \(id '4'\), without a value for label"):
        load_items(table("t.jsonl"), 0, tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"), [("{oops}", "not valid JSON"), ("[1]", "expected a JSON object")]
)
def test_bad_jsonl_names_the_line(tmp_path, line, expected):
    (tmp_path / "t.jsonl").write_text(f'{{"text": "a", "label": "b"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"t\.jsonl:2: {expected}"):
        load_table(table("t.jsonl"), tmp_path)


def test_parquet(tmp_path):
    columns = {"text": ["a", None], "label": pa.array(["x", "y"]).dictionary_encode(), "k": [10, 11]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    frame = load_table(table("t.parquet", id="k"), tmp_path)
    assert frame.drop(columns="options").to_dict("list") == {
        "item_id": ["10", "11"],
        "text": ["a", None],
        "label": ["x", "y"],
    }
    assert frame["options"].iloc[1] == ["x", "y"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_missing_column_lists_those_that_are_there(tmp_path, suffix):
    rows = pd.DataFrame({"body": ["a"], "label": ["b"]})
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        rows.to_csv(path, index=False)
    elif suffix == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_parquet(path)
    with pytest.raises(DataError, match=r"has no column 'text': its columns are 'body', 'label'"):
        load_table(table(path.name), tmp_path)


def test_a_column_that_occurs_twice(tmp_path):
    (tmp_path / "t.csv").write_text("text,text,label\na,b,c\n")
    with pytest.raises(DataError, match="more than one column 'text'"):
        load_table(table("t.csv"), tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"no file .*gone\.csv"):
        load_table(table("gone.csv"), tmp_path)
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(DataError, match=r"ends in one of \.csv, \.jsonl, \.parquet"):
        load_table(table("t.xlsx"), tmp_path)
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        load_table(table("t.parquet"), tmp_path)
    (tmp_path / "latin.csv").write_bytes("text,label\nMünchen,b\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read as csv: .*UTF8"):
        load_table(table("latin.csv"), tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_empty_files(tmp_path, suffix):
    (tmp_path / f"t.{suffix}").write_text("")
    with pytest.raises(DataError, match=r"is empty|no rows"):
        load_items(table(f"t.{suffix}"), 0, tmp_path)


CHOICES = [["red", "blue"], ["one", "two", "three"]] * 15


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_may_bring_their_own_choices_numbered_labels_and_groups(tmp_path: Path, kind: str) -> None:
    rows = [
        {"q": f"Which {k}?", "c": choices, "a": k % len(choices), "g": "odd" if k % 2 else "even"}
        for k, choices in enumerate(CHOICES)
    ]
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    settings = {"source": "table", "path": path.name, "text": "q", "label": "a", "choices": "c", "group": "g"}
    data = TableData.model_validate(settings)
    frame = load_items(data, 0, tmp_path).frame
    assert frame["options"].iloc[:2].tolist() == [["A", "B"], ["A", "B", "C"]]
    assert frame["choices"].iloc[1] == ["one", "two", "three"]
    assert frame["label"].tolist() == ["ABC"[k % len(choices)] for k, choices in enumerate(CHOICES)]
    asked = study(TABLE, {"prompt.templates": ["{text}\n{options}\nAnswer:"]})
    samples = build_samples(load_items(data, 0, tmp_path), asked)
    assert samples["prompt"].iloc[1] == "Which 1?\n- A: one\n- B: two\n- C: three\nAnswer:"
    assert samples_table(samples).column("item_group").to_pylist() == [row["g"] for row in rows]


def test_choices_that_are_no_list_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("q,c,a\nWhich?,red;blue,A\n", encoding="utf-8")
    settings = {"source": "table", "path": path.name, "text": "q", "label": "a", "choices": "c"}
    with pytest.raises(DataError, match="row 0: column 'c' holds 'red;blue'; expected a list of texts"):
        load_table(TableData.model_validate(settings), tmp_path)


def test_labels_that_are_numbers_count_named_options(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"t": "a", "l": 1}\n{"t": "b", "l": 0}\n', encoding="utf-8")
    settings = {"source": "table", "path": path.name, "text": "t", "label": "l", "options": ["no", "yes"]}
    assert load_table(TableData.model_validate(settings), tmp_path)["label"].tolist() == ["yes", "no"]
