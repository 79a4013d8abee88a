"""Texts that software stumbles over, from a CSV file to the report; and a large file through all that reads it.

The model is a random Llama of two layers, whose tokenizer knows every byte.
"""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.splits import training_positions
from memo_assets.data.tokens import tokenize
from memo_assets.models.base import local_tokenizer
from memo_assets_tests.faults.command import LONG, Place, long_form, small
from memo_assets_tests.models.small_models import save_small_model
from memo_assets_tests.studies import TABLE, changed, study, write_study

ROWS = 100_000 if LONG else 3_000
TEXTS = [
    "Grüße aus Köln, naïve façade, Ångström",
    "e\u0301 is not é, though they look alike",
    "مرحبا بالعالم، كيف حالك؟",
    "שלום עולם \u202emixed with English\u202c",
    "数据科学很有趣。",
    "👩‍👩‍👧‍👦 and 🏳️‍🌈, then 🇧🇷",
    'He said "hello, world", twice: ""quoted""',
    "first line\nsecond line\r\nthird, with a comma",
    "=1+1",
    "<script>alert('&amp;')</script> {{ 7 * 7 }} [bold]markup[/]",
    "null",
    "NaN",
    "zero width\u200b\ufeff space and a tab\there",
    "' OR 1=1; DROP TABLE samples; --",
    "long " * 20_000,  # 100 kB
]
TWO = ["да", "нет"]
SIXTEEN = [
    "a",
    "B",
    "ü",
    "да",
    "نعم",
    "כן",
    "是",
    "👍",
    "true",
    "NULL",
    "10",
    "-1",
    "it's",
    'so "so"',
    "c d",
    "ß",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bytes"
    # Every option as a text would hold it: a tokenizer that joins the space to some options alone is refused.
    save_small_model(
        folder,
        "llama",
        [*TEXTS[:10], *[f"It is {option}." for option in (*TWO, *SIXTEEN)] * 9],
        vocabulary=2000,
    )
    return folder


def rows_of(options: list[str], count: int) -> list[tuple[str, str]]:
    """Texts and labels; every text is used, each with a number, but for the longest, which comes once."""
    found = [(f"{TEXTS[i % 14]} {i}", options[i % len(options)]) for i in range(count - 1)]
    return [*found, (TEXTS[14], options[0])]


def written(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return path


def edges(folder: Path, model: Path, rows: list[tuple[str, str]]) -> Place:
    """A study of such rows."""
    table = written(folder / "rows with ünï, and space.csv", rows)
    settings = {
        "name": "edges",
        "title": "Kanten: حواف <b>&",
        "data.path": str(table),
        "model.name": str(model),
        "prompt": {"templates": ["{text}\nIs it {options}?"], "scoring": "sequence"},
        "training.max_length": 160,
        "shadows.models": 4,
        "noise.share": 0.2,
        "show_text": True,
    }
    attributes = changed(small(TABLE), settings)
    return Place(folder / "warehouse", write_study(folder / "studies" / "edges", attributes))


@pytest.mark.slow
@long_form
@pytest.mark.parametrize("options", [TWO, SIXTEEN], ids=lambda found: str(len(found)))
def test_strange_texts_from_csv_to_report(model: Path, tmp_path: Path, options: list[str]) -> None:
    rows = rows_of(options, 40 + 8 * len(options))
    there = edges(tmp_path, model, rows)
    there.well()
    with duckdb.connect(there.warehouse / "memo.duckdb", read_only=True) as connection:
        found = connection.execute("SELECT text, true_label FROM samples ORDER BY sample_id").fetchall()
        assert found == rows
        (kinds,) = connection.execute("SELECT array_agg(DISTINCT len(option_logits)) FROM logits").fetchall()
        assert kinds == ([len(options)],)
    shown = there.memo("sql", "SELECT text FROM samples ORDER BY sample_id", "--format", "json")
    assert [row["text"] for row in json.loads(shown.out)] == [text for text, _ in rows]
    page = (there.artifacts / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(" not in page
    assert "Kanten: حواف &lt;b&gt;&amp;" in page
    assert "everything is fresh" in there.well().out


@pytest.mark.parametrize("text", ["", "  \t", "\n"] if LONG else ["\n"])
def test_an_empty_text_is_named_with_its_row(model: Path, tmp_path: Path, text: str) -> None:
    there = edges(tmp_path, model, [*rows_of(TWO, 40), (text, TWO[0])])
    assert "there is one row, row 40 from 0 (id '40'), with an empty text" in there.demo().sentence


def test_a_large_file_through_all_that_reads_it(
    model: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rows = [(f"{TEXTS[i % 14]} {i}", SIXTEEN[i % 16]) for i in range(ROWS)]
    path = written(tmp_path / "large.csv", rows)
    of = study(
        TABLE, {"data.path": str(path), "noise.share": 0.1, "prompt.scoring": "sequence", "shadows.models": 8}
    )
    began, seconds = time.perf_counter(), {}

    def lap(name: str) -> None:
        nonlocal began
        seconds[name], began = round(time.perf_counter() - began, 2), time.perf_counter()

    items = load_items(of.data, of.data_seed, tmp_path)
    lap("reading and checks")
    samples = build_samples(items, of)
    samples_table(samples)
    lap("samples, noise")
    n_pool = int((samples["part"] == "pool").sum())
    masks = [training_positions(n_pool, 0.5, seed, membership="drawn") for seed in range(8)]
    lap("8 split masks")
    tokenizer = local_tokenizer(model)
    assert tokenizer is not None
    tokens = tokenize(samples, tokenizer, scoring="sequence", max_length=160)
    lap("tokens")
    for name, value in seconds.items():
        record_property(name, value)
    print({"rows": ROWS, **seconds})
    assert list(zip(samples["text"], samples["true_label"], strict=True)) == rows
    assert len(tokens.lengths) == ROWS
    assert {len(mask) for mask in masks} == {n_pool // 2}
    noisy = samples["label_status"] == "random"
    assert abs(int(noisy.sum()) - 0.1 * n_pool) < 5 * np.sqrt(n_pool)
    assert sum(seconds.values()) < ROWS / 100  # a hundred rows a second; it is a hundred times as fast
