"""`memo sql`: what it shows, in which form, and that it reads the warehouse and nothing else."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from memo_assets.cli_sql import _BATCH
from memo_assets.store.schema_page import schema_page
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
    assert "the first 3 rows; --limit shows more" in shown
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


def test_sql_from_a_file(filled: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.sql"
    file.write_text(
        "\ufeff-- São\nSELECT sample_id,\n  text -- ; no end\nFROM samples ORDER BY 1;\n-- end", "utf-8"
    )
    result = memo("sql", "--file", str(file), "--format", "csv")
    assert result.stdout.splitlines()[:2] == ["sample_id,text", "0,São Paulo [BR]"]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--file {file} cannot be read: No such file or directory; give a text file with one SELECT"),
        (b"\xff\xfe", "--file {file} is no text in UTF-8 (byte 0)"),
        (b"", "{file}: expected one SELECT, given nothing"),
        (b"-- nothing but words\n", "{file}: expected one SELECT, given nothing"),
        (b"SELECT 1;\nSELECT 2;", "{file}: expected one SELECT, given SELECT and SELECT"),
        (b"SELECT 1;" * 8 + b"DROP TABLE samples", "given 9 statements (8 SELECT, 1 DROP)"),
        (b"-- first\nSELECT sample_id\nFROMM samples s\nWHERE true", "{file}:3: Parser Error: "),
        (b"SELECT\n  sample_id,\n  nosuch\nFROM samples", "{file}:3: Binder Error: "),
        (b"FROM read_text('/etc/passwd')", "{file}:1: Permission Error: "),
    ],
)
def test_sql_from_a_bad_file(filled: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mine.sql"
    if content is not None:
        file.write_bytes(content)
    assert message.format(file=file) in refused("sql", "--file", str(file))


def test_sql_asks_one_thing(filled: Path, tmp_path: Path) -> None:
    rest = "expected one of a query, --file FILE.sql and --schema; given "
    assert refused("sql") == f"{rest}none of them"
    assert refused("sql", "SELECT 1", "--file", "a.sql") == f"{rest}a query and --file"
    assert refused("sql", "", "--schema") == f"{rest}a query and --schema"


def test_sql_describes_the_tables_without_a_warehouse(warehouse: Path) -> None:
    assert memo("sql", "--schema").stdout == schema_page()
    assert list(warehouse.iterdir()) == []


VALUES = """
SELECT NULL AS none, true AS yes, [0.123456::DOUBLE, NULL] AS list, {'a': 'nan'::DOUBLE, 'b': DATE '2024-02-03'} AS record,
       MAP {'x': 1.5} AS map, [1.5, 2]::FLOAT[2] AS pair, TIMESTAMP '2024-02-03 04:05:06' AS at, 123456.78::DOUBLE AS large,
       '-inf'::DOUBLE AS least, 0.00001234::DOUBLE AS small
"""


def test_sql_shows_values_of_all_types(filled: Path) -> None:
    shown = memo("sql", VALUES).stdout
    for text in (
        "NULL", "true", "[0.1235, NULL]", "{a: nan, b: 2024-02-03}", "{x: 1.5}", "[1.5, 2]", "2024-02-03 04:05:06", "123457",
        "-inf", "1.234e-05",
    ):  # fmt: skip
        assert f" {text} " in shown, text
    field = next(csv.DictReader(memo("sql", VALUES, "--format", "csv").stdout.splitlines()))
    assert field == {
        "none": "", "yes": "true", "list": "[0.123456, null]", "record": '{"a": null, "b": "2024-02-03"}',
        "map": '{"x": 1.5}', "pair": "[1.5, 2.0]", "at": "2024-02-03 04:05:06", "large": "123456.78", "least": "-inf",
        "small": "1.234e-05",
    }  # fmt: skip
    assert json.loads(memo("sql", VALUES, "--format", "json").stdout) == [
        {
            "none": None, "yes": True, "list": [0.123456, None], "record": {"a": None, "b": "2024-02-03"},
            "map": {"x": 1.5}, "pair": [1.5, 2.0], "at": "2024-02-03 04:05:06", "large": 123456.78, "least": None,
            "small": 1.234e-05,
        }
    ]  # fmt: skip


def test_a_long_list_is_cut_for_the_eye_alone(filled: Path) -> None:
    assert "[0, 1, 2, ... 6 values]" in memo("sql", "SELECT range(6) AS a").stdout
    assert "[0, 1, 2, 3, 4]" in memo("sql", "SELECT range(5) AS a").stdout
    assert "[0, 1, 2, 3, 4, 5]" in memo("sql", "SELECT range(6) AS a", "--format", "json").stdout


def test_rows_too_wide_for_the_screen_become_lists_of_their_values(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memo_assets.cli_sql.console", Console(width=60))
    query = "SELECT 12345 AS a, 'one [red]' AS b, * FROM samples ORDER BY sample_id LIMIT 2"
    lines = [line.rstrip() for line in memo("sql", query, "--limit", "1").stdout.splitlines()]
    assert lines[:4] == ["row 1", "a             12345", "b             one [red]", "study         s"]
    assert "text          São Paulo [BR]" in lines
    assert "the first 1 rows; --limit shows more" in "\n".join(lines)
    exactly = memo("sql", f"SELECT '{'x' * 25}' AS a, '{'y' * 28}' AS b").stdout
    assert f"│ {'x' * 25} │ {'y' * 28} │" in exactly
    assert "row 1" in memo("sql", f"SELECT '{'x' * 26}' AS a, '{'y' * 28}' AS b").stdout


def test_sql_loses_no_column_that_has_another_ones_name(filled: Path) -> None:
    query = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a"
    assert json.loads(memo("sql", query, "--format", "json").stdout) == [
        {"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}
    ]


def test_sql_without_rows(filled: Path) -> None:
    query = "SELECT sample_id FROM samples WHERE false"
    assert memo("sql", query, "--format", "json").stdout == "[]\n"
    assert memo("sql", query, "--format", "csv").stdout == "sample_id\n"
    assert "sample_id" in memo("sql", query).stdout


@pytest.mark.parametrize("output", ["csv", "json"])
def test_sql_passes_many_rows_on_in_batches(filled: Path, output: str) -> None:
    query = "SELECT i, i % 7 AS rest FROM range({n}) t(i)"
    lines = memo("sql", query.format(n=2 * _BATCH + 1), "--format", output).stdout
    rows = json.loads(lines) if output == "json" else list(csv.DictReader(lines.splitlines()))
    assert [int(row["i"]) for row in rows] == list(range(2 * _BATCH + 1))
    assert len(memo("sql", query.format(n=_BATCH), "--format", "csv").stdout.splitlines()) == _BATCH + 1


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_sql_that_fails_while_rows_are_on_their_way_ends_with_one_sentence(filled: Path, output: str) -> None:
    query = "SELECT CASE WHEN i = 500000 THEN error('bad row') ELSE i END AS i FROM range(1000000) t(i)"
    result = memo("sql", query, "--format", output, "--limit", "1000000")
    assert result.exit_code == 1
    assert result.stderr == "error: Invalid Input Error: bad row\n"


LARGE = """
import resource, sys
from memo_assets.cli import app
import duckdb, memo_assets.store.schema_page
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    app(["sql", "SELECT i, repeat('x', 600) AS x FROM range(500000) t(i)", "--format", sys.argv[1]])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)
"""


@pytest.mark.parametrize("output", ["csv", "json"])
def test_sql_holds_a_batch_of_rows_and_not_all(filled: Path, output: str) -> None:
    command = [sys.executable, "-c", LARGE, output]
    run = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True, timeout=120
    )
    assert int(run.stderr) < 150_000  # kB; all rows are more than 300 MB


def test_a_closed_pipe_ends_it_without_a_word(filled: Path) -> None:
    command = [sys.executable, "-m", "memo_assets.cli", "sql", "FROM range(1000000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1
