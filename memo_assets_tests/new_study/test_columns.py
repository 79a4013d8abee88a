"""Which columns are proposed, on tables like those that people have."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memo_assets.data.errors import DataError
from memo_assets.data.table import read_columns
from memo_assets.new_study.columns import Proposal, propose

N = 60
ROWS = {
    "number": [str(row) for row in range(N)],
    "ticket_id": [f"T{row}" for row in range(N)],
    "subject": [f"about {row}" for row in range(N)],
    "body": [f"a longer text on the matter {row}" for row in range(N)],
    "team": ["north", "south"] * (N // 2),
    "category": [f"c{row % 3}" for row in range(N)],
}


def without(*names: str) -> dict[str, list[str]]:
    return {name: values for name, values in ROWS.items() if name not in names}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (ROWS, Proposal("body", "category", "ticket_id")),
        (without("ticket_id", "body", "category"), Proposal("subject", "team", "number")),
        (without("number", "ticket_id"), Proposal("body", "category", "subject")),
        # Numbers are neither text nor label, a column with holes is nothing.
        (
            {"text": [*ROWS["body"][1:], ""], "label": [row % 2 for row in range(N)]},
            Proposal(None, None, None),
        ),
        ({"key": list(range(N)), "label": ["a"] * N}, Proposal(None, None, "key")),
        ({"text": [], "label": []}, Proposal(None, None, None)),
    ],
)
def test_columns_are_proposed_by_what_they_hold(columns: dict[str, list], expected: Proposal) -> None:
    assert propose(columns) == expected


def test_all_columns_are_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label,n\n"one, two",01,1\n,b,2\n', encoding="utf-8")
    assert read_columns(tmp_path / "a.csv") == {
        "text": ["one, two", ""],
        "label": ["01", "b"],
        "n": ["1", "2"],
    }
    lines = [{"text": "x", "n": 1}, {"text": "y", "label": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read_columns(tmp_path / "a.jsonl") == {"text": ["x", "y"], "n": [1, None], "label": [None, "b"]}
    pq.write_table(pa.table({"text": ["x"], "n": [1]}), tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet") == {"text": ["x"], "n": [1]}
    for name, message in (("b.csv", "no file"), ("a.txt", "expected a name that ends in")):
        (tmp_path / "a.txt").touch()
        with pytest.raises(DataError, match=message):
            read_columns(tmp_path / name)
