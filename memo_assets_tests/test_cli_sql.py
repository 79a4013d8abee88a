"""`memo sql`: what it shows, in which form, and that it reads the warehouse and nothing else."""

import json
import re
from pathlib import Path

import pytest

from memo_assets.store.tables import publish
from memo_assets_tests.command_line import memo, refused

ROWS = (
    ("s", 0, "São Paulo [BR]", 0.25),
    ("s", 1, None, float("nan")),
    ("t", 2, 'a "quoted", name', None),
)


@pytest.fixture
def filled(warehouse: Path) -> Path:
    with publish() as connection:
        connection.executemany(
            "INSERT INTO samples BY NAME SELECT ? study, ? sample_id, ? text, NULL part",
            [row[:3] for row in ROWS],
        )
        facts = "INSERT INTO checkpoints BY NAME SELECT ? study, ? split_seed, 0.0 epoch, ?::DOUBLE train_loss_mean"
        connection.executemany(facts, [(study, seed, value) for study, seed, _, value in ROWS])
    return warehouse


def test_sql_where_the_warehouse_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memo.duckdb").touch()
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "memo.duckdb"))
    assert "is a file; name the directory that holds it" in refused("sql", "FROM samples")


def test_sql_as_a_table(filled: Path) -> None:
    shown = memo("sql", "SELECT sample_id, text, 1/3 AS third FROM samples ORDER BY 1").stdout
    assert "São Paulo [BR]" in shown  # square brackets are no markup
    assert "0.3333" in shown
    assert [name in shown for name in ("sample_id", "text", "third")] == [True] * 3


def test_sql_shows_no_more_rows_than_the_limit(filled: Path) -> None:
    shown = memo("sql", "SELECT 'row' || i FROM range(9) t(i)", "--limit", "3").stdout
    assert re.findall(r"row\d", shown) == ["row0", "row1", "row2"]
    assert "3 of 9 rows; --limit shows more" in shown
    assert memo("sql", "FROM samples", "--limit", "0").exit_code == 2


def test_sql_as_csv(filled: Path) -> None:
    result = memo("sql", "SELECT sample_id, text, part FROM samples ORDER BY 1", "--format", "csv")
    assert result.stdout == 'sample_id,text,part\n0,São Paulo [BR],\n1,,\n2,"a ""quoted"", name",\n'


def test_sql_as_json(filled: Path) -> None:
    query = (
        "SELECT split_seed, train_loss_mean AS loss, 0.5::DECIMAL(3, 2) AS half, [1.5, 'inf'::DOUBLE] AS list, "
        "{'a': 'nan'::DOUBLE} AS record, DATE '2024-02-03' AS day FROM checkpoints ORDER BY 1"
    )
    found = json.loads(memo("sql", query, "--format", "json").stdout)
    rest = {"half": 0.5, "list": [1.5, None], "record": {"a": None}, "day": "2024-02-03"}
    assert found == [
        {"split_seed": 0, "loss": 0.25, **rest},
        {"split_seed": 1, "loss": None, **rest},
        {"split_seed": 2, "loss": None, **rest},
    ]


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_sql_keeps_whole_numbers_whole(filled: Path, output: str) -> None:
    # A sum of integers is a HUGEINT, a column with nulls is no float either.
    query = (
        "SELECT sum(i + 100000) AS total, max(CASE WHEN i = 5 THEN 1234567 END) AS one FROM range(3, 6) t(i)"
    )
    shown = memo("sql", query, "--format", output).stdout
    assert re.search(r"\b300012\b(?!\.)", shown)
    assert re.search(r"\b1234567\b(?!\.)", shown)


def test_sql_keeps_every_digit_for_pipes(filled: Path) -> None:
    for output in ("csv", "json"):
        assert "0.3333333333333333" in memo("sql", "SELECT 1/3::DOUBLE AS x", "--format", output).stdout


def test_sql_formats_are_named(filled: Path) -> None:
    assert (
        refused("sql", "FROM samples", "--format", "xml")
        == "--format: given 'xml'; expected table, csv or json"
    )


@pytest.mark.parametrize(
    "query", ["SHOW TABLES", "DESCRIBE samples", "FROM duckdb_tables() SELECT table_name, comment"]
)
def test_sql_shows_what_tables_there_are(filled: Path, query: str) -> None:
    result = memo("sql", query)
    assert result.exit_code == 0
    assert "sample" in result.stdout


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "INSERT INTO samples BY NAME SELECT 'x' AS study, 9 AS sample_id",
            "expected one SELECT, given INSERT",
        ),
        ("DELETE FROM samples", "expected one SELECT, given DELETE"),
        ("DROP TABLE samples", "expected one SELECT, given DROP"),
        ("CREATE TABLE mine (a INT)", "expected one SELECT, given CREATE"),
        ("ATTACH '{folder}/other.db'", "expected one SELECT, given ATTACH"),
        ("ATTACH ':memory:' AS other", "expected one SELECT, given ATTACH"),
        ("COPY samples TO '{folder}/out.csv'", "expected one SELECT, given COPY"),
        ("EXPORT DATABASE '{folder}/out'", "expected one SELECT, given"),
        ("SET enable_external_access = true", "expected one SELECT, given SET"),
        ("INSTALL httpfs", "expected one SELECT, given LOAD"),
        ("SELECT 1; DELETE FROM samples", "expected one SELECT, given SELECT and DELETE"),
        ("SELECT 1; SELECT 2", "expected one SELECT, given SELECT and SELECT"),
        ("", "expected one SELECT, given nothing"),
        ("SELECT * FROM read_text('{folder}/secret.txt')", "Permission Error"),
        ("SELECT * FROM read_csv('{folder}/secret.txt')", "Permission Error"),
        ("FROM glob('{folder}/*')", "Permission Error"),
        ("FROM '{folder}/secret.csv'", "Error"),
        ("SELEC 1", "Parser Error"),
        ("FROM nothing", "Table with name nothing does not exist"),
        ("FROM query", "Table with name query does not exist"),
    ],
)
def test_sql_reads_the_warehouse_and_nothing_else(
    filled: Path, tmp_path: Path, query: str, message: str
) -> None:
    before = (filled / "memo.duckdb").read_bytes()
    for name in ("secret.txt", "secret.csv"):
        (tmp_path / name).write_text("password\nhunter2\n")
    found = refused("sql", query.replace("{folder}", str(tmp_path)))
    assert message in found
    assert "hunter2" not in found
    assert (filled / "memo.duckdb").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv", "secret.txt", "year=2026"]
