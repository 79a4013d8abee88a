"""The SQL of docs/analyses.md runs as printed, over tables of a study with choices."""

import re
from pathlib import Path

import duckdb
import pytest

from memo_assets.data.answer_variation import REPLACEMENT
from memo_assets.measures.skewness import FEWEST, MEASURES
from memo_assets.store.schema import ddl

PAGE = (Path(__file__).parents[1] / "docs" / "analyses.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
ROWS = """
INSERT INTO samples BY NAME SELECT 'mine' AS study, i AS sample_id, 1 AS true_index, 1 + (i = 3)::INTEGER AS given_index
FROM range(9) t(i);
INSERT INTO memorization BY NAME SELECT 'mine' AS study, 0 AS target_seed, epoch, i AS sample_id, i < 2 AS memorized
FROM range(9) t(i), (VALUES (0.0), (2.0)) e(epoch);
INSERT INTO answer_variation BY NAME SELECT 'mine' AS study, 0 AS target_seed, i AS sample_id,
    CASE WHEN i = 8 THEN 'right option' ELSE 'varied' END AS outcome, i AS gap, CASE WHEN i < 8 THEN i - 1.0 END AS varied_gap
FROM range(9) t(i);
INSERT INTO answer_variation_summary BY NAME SELECT 'mine' AS study, 0 AS target_seed, 'all' AS among, 'lost' AS measure,
    .5 AS rate, .2 AS low, .8 AS high, 5 AS successes, 10 AS trials;
INSERT INTO memorization_skewness BY NAME SELECT 'mine' AS study, 0 AS target_seed, over, value, 'skewness' AS measure,
    value + 1 AS estimate, 0 AS low, 9 AS high, 50 AS n
FROM (VALUES ('epoch', 0.0), ('epoch', 2.0), ('similarity', .5)) v(over, value);
"""
FOUND = [
    [("mine", 0, 0.0, 1.0, 0.0, 9.0, 50), ("mine", 0, 2.0, 3.0, 0.0, 9.0, 50)],
    [("mine", 0, 0.5, "skewness", 1.5, 0.0, 9.0, 50)],
    [("mine", 50, 3.0, 0.0, 9.0)],
    [("mine", 0, "all", "lost", 0.5, 0.2, 0.8, 5, 10)],
    [("mine", 0, False, 5, 4.8, 3.8), ("mine", 0, True, 2, 0.5, -0.5)],
    [("mine", 0, "right option", True, 1), ("mine", 0, "varied", False, 1), ("mine", 0, "varied", True, 7)],
]


@pytest.mark.parametrize(("query", "expected"), [*zip(QUERIES, FOUND, strict=True)])
def test_query_gives_what_its_question_asks(query: str, expected: list[tuple]):
    with duckdb.connect() as connection:
        for statement in (*ddl(), ROWS):
            connection.execute(statement)
        assert [tuple(row) for row in connection.execute(query).fetchall()] == expected


def test_measures_and_limits_are_those_of_the_code():
    assert all(f"`{measure}`" in PAGE for measure in MEASURES)
    assert REPLACEMENT in PAGE
    assert f"Below {FEWEST} samples" in PAGE
