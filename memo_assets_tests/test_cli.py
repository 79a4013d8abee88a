"""The command line: what it shows, what it refuses, and its exit codes."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from memo_assets.cli import app
from memo_assets.store.tables import publish
from memo_assets.study import load_studies
from memo_assets_tests.studies import DIGITS, changed, line_of, write_study

ROWS = (
    ("s", 0, "São Paulo [BR]", 0.25),
    ("s", 1, None, float("nan")),
    ("t", 2, 'a "quoted", name', None),
)


def memo(*arguments: str) -> Result:
    """Run the command; nothing but a chosen exit may end it."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The one error message of a command that must fail."""
    result = memo(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").strip()


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


def test_help_says_what_there_is() -> None:
    text = memo("--help").stdout
    for command in ("demo", "ui", "sql", "status", "compare", "fetch", "study", "slurm"):
        assert re.search(rf"^\W*{command}\s", text, re.MULTILINE), command
    assert "which training samples a model is about to memorize" in " ".join(text.split())
    assert memo().stdout.strip() == text.strip()


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["sql"], ["read-only", "FROM duckdb_tables()", "--format", "--limit"]),
        (["status"], ["fresh, stale (and why), missing or failed", "--format"]),
        (["compare"], ["named, and left out"]),
        (["study"], ["list", "check", "new"]),
        (["slurm"], ["preview", "check"]),
        (["slurm", "preview"], ["batch scripts", "nothing is sent", "--asset"]),
        (["fetch"], ["for nodes without internet"]),
        (["study", "check"], ["nothing is written", "defs.yaml"]),
        (["study", "list"], ["built-in studies and your own"]),
    ],
)
def test_every_command_explains_itself(arguments: list[str], texts: list[str]) -> None:
    result = memo(*arguments, "--help")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.replace("│", " ").split())
    for text in texts:
        assert text in shown


@pytest.mark.parametrize("command", [["sql", "FROM samples"], ["compare"]])
def test_without_a_warehouse_it_says_what_to_do(command: list[str], warehouse: Path) -> None:
    assert refused(*command) == (
        f"no warehouse at {warehouse}/memo.duckdb: run `make demo` (or `memo demo`), or set MEMO_WAREHOUSE to its directory"
    )
    assert list(warehouse.iterdir()) == []


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


def test_study_list(warehouse: Path) -> None:
    result = memo("study", "list")
    assert result.exit_code == 0
    for text in ("cities", "digits", "tiny_llama", "mlp", "Handwritten digits, MLP"):
        assert text in result.stdout


def test_study_check_of_a_good_study(tmp_path: Path, warehouse: Path) -> None:
    path = write_study(tmp_path / "mine", DIGITS)
    result = memo("study", "check", str(path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "study: tiny",
        "samples: 90 (80 pool, 10 test)",
        "noisy labels: 0",
        "models: 4, each trained on 40 samples",
        "steps: 10 (5 per epoch), 3 checkpoints",
        "fine",
    ]
    assert list(warehouse.iterdir()) == []


def test_study_check_of_a_bad_study(tmp_path: Path) -> None:
    path = write_study(
        tmp_path / "mine", changed(DIGITS, {"training.epochs": "[red]two[/]", "noise.share": 2})
    )
    # Markup in what was given is shown as it is, and long lines are not broken.
    assert refused("study", "check", str(path.parent)).splitlines() == [
        f"{path}:{line_of(path, 'share')}: noise.share: given 2; input should be less than or equal to 1",
        f"{path}:{line_of(path, 'epochs')}: training.epochs: given '[red]two[/]'; input should be a valid integer",
    ]


def test_study_check_of_bad_data(tmp_path: Path) -> None:
    write_study(tmp_path, changed(DIGITS, {"data.items": 1798}))
    assert refused("study", "check", str(tmp_path)).startswith(
        "study tiny: data.items = 1798, but scikit-learn's"
    )


@pytest.mark.parametrize("command", [["study", "check"], ["status"]])
def test_an_unknown_study_is_answered_with_the_known_ones(warehouse: Path, command: list[str]) -> None:
    assert re.match("no study 'mnist': expected one of .*cities.*digits", refused(*command, "mnist"))


def test_status_before_anything_was_run(tmp_path: Path, warehouse: Path) -> None:
    path = write_study(tmp_path / "mine", DIGITS)
    result = memo("status", str(path))
    assert result.exit_code == 0
    assert "Tiny digits (tiny)" in result.stdout
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if line.count("│") > 4}
    assert "base_model" not in lines
    for name, partitions in {
        "samples": 1,
        "split_masks": 4,
        "adapters": 4,
        "layer_scores": 1,
        "shadow_logits": 1,
    }.items():
        cells = [cell.strip() for cell in lines[name].split("│")[1:-1]]
        assert cells == [name, "", "", str(partitions), "", "never materialized"]
    assert [cell.strip() for cell in lines["source"].split("│")[1:-1]] == ["source", "1", "", "", "", ""]
    assert not (warehouse / "memo.duckdb").exists()


def test_status_of_all_studies_is_a_line_each(warehouse: Path) -> None:
    result = memo("status")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.count("│") > 4]
    assert len(lines) == len(load_studies())
    assert all("never run" in line for line in lines)


def test_status_as_json(tmp_path: Path, warehouse: Path) -> None:
    write_study(tmp_path / "mine", DIGITS)
    (record,) = json.loads(memo("status", str(tmp_path / "mine"), "--format", "json").stdout)
    assert record["study"] == "tiny"
    (adapters,) = [asset for asset in record["assets"] if asset["asset"] == "adapters"]
    never = {"state": "missing", "cause": "never materialized", "partitions": ["0", "1", "2", "3"]}
    assert adapters == {"asset": "adapters", "fresh": 0, "stale": 0, "missing": 4, "failed": 0, "not_fresh": [never]}  # fmt: skip
    assert refused("status", "--format", "csv") == "--format: given 'csv'; expected table or json"


@pytest.mark.parametrize("command", [["demo"], ["status"], ["ui"], ["slurm", "check", "digits"]])
def test_an_unknown_executor_is_one_sentence(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "slrum")
    result = memo(*command)
    assert result.exit_code == 1
    assert result.stderr.strip() == "error: MEMO_EXECUTOR: given 'slrum'; expected one of local, slurm"
