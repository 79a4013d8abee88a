"""`memo sql` reads the open warehouse: it writes nothing, reads no other file, loads nothing, changes no setting."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memo_assets.cli_sql import lock
from memo_assets.store.tables import publish, reading
from memo_assets_tests.command_line import memo

SECRET = "hunter2"
# {memo} is the open database itself, which DuckDB counts among the files that a locked connection may write;
# {folder} holds it and secret.csv.
WRITES = [
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY samples TO '{memo}' (FORMAT csv, USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{memo}' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{memo}.wal' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{memo}.tmp/out.csv' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{folder}/out' (FORMAT parquet, PARTITION_BY (a))",
    "COPY samples FROM '{folder}/secret.csv'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "CREATE TABLE memory.main.mine AS SELECT 1",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE OR REPLACE MACRO samples() AS TABLE SELECT 1",
    "INSERT INTO samples BY NAME SELECT 'x' AS study",
    "UPDATE samples SET text = 'x'",
    "DELETE FROM samples",
    "TRUNCATE samples",
    "ALTER TABLE samples ADD COLUMN a INT",
    "DROP TABLE samples",
    "WITH gone AS (DELETE FROM samples RETURNING *) SELECT * FROM gone",
    "CHECKPOINT memo",
    "VACUUM",
]
READS = [
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT * FROM read_csv_auto(['{folder}/secret.csv'])",
    "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "SELECT * FROM read_text('{folder}/*')",
    "SELECT * FROM read_blob('{folder}/secret.csv')",
    "SELECT * FROM read_json('{folder}/secret.csv')",
    "SELECT * FROM read_parquet('{folder}/secret.csv')",
    "SELECT * FROM parquet_metadata('{folder}/secret.csv')",
    "SELECT * FROM read_duckdb('{folder}/other.duckdb')",
    "FROM '{folder}/secret.csv'",
    "FROM '/etc/passwd'",
    "FROM glob('/*')",
    "FROM query('FROM read_text(''{folder}/secret.csv'')')",
    "FROM query_table('{folder}/secret.csv')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{folder}/secret.csv'')'))",
    "FROM 'https://127.0.0.1:9/a.parquet'",
    "SELECT getenv('MEMO_TEST_SECRET')",
    "FROM duckdb_secrets()",
    "FROM which_secret('s3://a', 's3')",
    "FROM sqlite_scan('{folder}/secret.csv', 'a')",
    "FROM SECRET_FRAME",
]
CHANGES = [
    "ATTACH '{folder}/other.duckdb'",
    "ATTACH '{memo}' AS again (READ_WRITE)",
    "ATTACH ':memory:' AS other",
    "DETACH memo",
    "USE memory",
    "INSTALL httpfs",
    "LOAD '{folder}/secret.csv'",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET threads = 1",
    "SET GLOBAL secret_directory = '{folder}'",
    "SET VARIABLE a = 1",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL enable_logging()",
    "CALL pragma_version()",
    "FROM enable_logging(storage = 'file', storage_path = '{folder}/out')",
    "FROM enable_profiling(format = 'json', save_location = '{folder}/out.json')",
    "PREPARE a AS SELECT 1",
    "BEGIN TRANSACTION",
    "EXPLAIN SET threads = 1",
]
HOSTILE = WRITES + READS + CHANGES
SECRET_FRAME = [SECRET]
_BOUNDED = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture
    ],  # the umask, which no example changes for the next
)
# What stands around a statement; an EXPLAIN ANALYZE runs what it explains.
FRAMES = [
    "{}",
    "  {} ; ",
    "-- a comment\n{}",
    "/* SELECT 1 */ {} -- SELECT 1",
    "SELECT 1; {}",
    "{}; SELECT 1",
    "EXPLAIN ANALYZE {}",
    "EXPLAIN (ANALYZE, FORMAT json) {}",
    "explain/**/analyze --\r\n{}",
    "EXPLAIN ANALYZE --\r{}\n",
    ";;{}",
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A warehouse, a file beside it that nobody may read, and the folder of a query that did not fit in memory."""
    folder = tmp_path_factory.mktemp("warehouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMO_WAREHOUSE", str(folder))
        patch.setenv("MEMO_TEST_SECRET", SECRET)
        with publish() as connection:
            connection.execute(
                "INSERT INTO samples BY NAME SELECT 's' AS study, 0 AS sample_id, 'a text' AS text"
            )
        (folder / "secret.csv").write_text(f"password\n{SECRET}\n")
        (folder / "memo.duckdb.tmp").mkdir()
        yield folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def ask(folder: Path, statement: str) -> int:
    """Exit code of the command; whatever it says, nothing was told and nothing changed."""
    before = content(folder)
    statement = statement.replace("{memo}", str(folder / "memo.duckdb")).replace("{folder}", str(folder))
    result = memo("sql", "--", statement)
    assert SECRET not in result.output
    assert content(folder) == before
    return result.exit_code


@pytest.mark.parametrize("statement", HOSTILE)
def test_nothing_but_the_warehouse_is_read_and_nothing_written(filled: Path, statement: str) -> None:
    assert ask(filled, statement) == 1


@pytest.mark.parametrize("statement", WRITES)
def test_nor_does_explain_analyze_write(filled: Path, statement: str) -> None:
    assert ask(filled, f"EXPLAIN ANALYZE {statement}") == 1


@_BOUNDED
@given(frame=st.sampled_from(FRAMES), statement=st.sampled_from(HOSTILE), upper=st.booleans())
def test_nor_does_it_in_a_disguise(filled: Path, frame: str, statement: str, upper: bool) -> None:
    assert ask(filled, frame.replace("{}", statement.swapcase() if upper else statement)) == 1


@_BOUNDED
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(" ".join([*HOSTILE, "(", ")", ";"]).split())).map(" ".join)
)
def test_any_text_is_an_answer_or_one_error(filled: Path, text: str) -> None:
    assert ask(filled, text) in (0, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "FROM samples",
        "EXPLAIN FROM samples",
        "explain analyze SELECT count(*) FROM samples",
        "EXPLAIN (FORMAT json) WITH a AS (FROM samples) FROM a",
        "EXPLAIN /* a */ ANALYZE -- b\n SELECT 1",
        "SELECT json_extract('{\"a\": 1}', '$.a'), strftime(DATE '2026-11-26', '%d'), getvariable('a')",
        "FROM log_lira_of('s', 0)",
        "FROM duckdb_settings()",
        "SUMMARIZE samples",
    ],
)
def test_questions_are_answered(filled: Path, statement: str) -> None:
    assert ask(filled, statement) == 0


def test_settings_are_locked_even_where_a_statement_gets_through(filled: Path) -> None:
    with reading() as connection:
        lock(connection)
        for statement in (
            "SET enable_external_access = true",
            "SET threads = 1",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(Exception, match=r"locked|disabled"):
                connection.execute(statement)
