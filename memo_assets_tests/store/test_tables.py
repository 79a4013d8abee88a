"""Publishing a changed copy of the warehouse, and reading snapshots of it."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from memo_assets.store.rows import replace_rows
from memo_assets.store.tables import WarehouseError, connect, publish, reading

# Rows of `checkpoints` (with a primary key) and of `logits` (bulk): the same study, split seeds 0 .. n - 1.
FACTS = "SELECT 's' AS study, i AS split_seed, 0.0 AS epoch, ? AS step FROM range(?) t(i)"
BULK = "SELECT 's' AS study, i AS split_seed, 0.0 AS epoch, 7 AS sample_id, ? AS loss FROM range(?) t(i)"
QUERIES = {"checkpoints": FACTS, "logits": BULK}
SLICE = {"study": "s"}


def load(table: str, n: int, value: float = 1) -> int:
    with publish() as connection:
        return replace_rows(connection, table, QUERIES[table], [value, n], where=SLICE)


def rows(connection: duckdb.DuckDBPyConnection, table: str = "checkpoints") -> list[tuple]:
    column = "step" if table == "checkpoints" else "loss"
    return connection.execute(f"SELECT split_seed, {column} FROM {table} ORDER BY 1").fetchall()


def files(warehouse: Path) -> list[str]:
    return sorted(path.name for path in warehouse.iterdir() if not path.name.endswith(".lock"))


def test_without_a_warehouse_the_error_says_what_to_do(warehouse: Path) -> None:
    with pytest.raises(WarehouseError, match=rf"no warehouse at {warehouse}/memo.duckdb: run `make demo`"):
        connect()
    assert files(warehouse) == []


@pytest.mark.parametrize("content", [b"", b"no database\n" * 1000])
def test_a_file_that_is_no_database_is_named_and_left_alone(warehouse: Path, content: bytes) -> None:
    path = warehouse / "memo.duckdb"
    path.write_bytes(content)
    with pytest.raises(WarehouseError, match=rf"{path} is damaged .*not a valid DuckDB database.*: move it"):
        connect()
    with pytest.raises(WarehouseError, match=rf"{path} is damaged .*{path}.*not a valid DuckDB database"):
        load("checkpoints", 1)
    assert path.read_bytes() == content
    assert files(warehouse) == ["memo.duckdb"]


@pytest.mark.parametrize("table", ["checkpoints", "logits"])
def test_loading_a_slice_again_takes_its_place(warehouse: Path, table: str) -> None:
    assert load(table, 3) == 3
    assert load(table, 3, value=2) == 3
    with reading() as connection:
        assert rows(connection, table) == [(0, 2), (1, 2), (2, 2)]
    assert load(table, 1, value=3) == 1
    with reading() as connection:
        assert rows(connection, table) == [(0, 3)]
    assert files(warehouse) == ["memo.duckdb"]


def test_other_slices_stay(warehouse: Path) -> None:
    load("checkpoints", 3)
    with publish() as connection:
        where = {"study": "s", "split_seed": [1, 2]}
        query = "SELECT 's' AS study, 1 AS split_seed, 0.0 AS epoch, 9 AS step"
        assert replace_rows(connection, "checkpoints", query, [], where=where) == 1
        assert (
            replace_rows(connection, "checkpoints", FACTS.replace("'s'", "'t'"), [5, 1], where={"study": "t"})
            == 1
        )
    with reading() as connection:
        found = connection.execute("SELECT study, split_seed, step FROM checkpoints ORDER BY ALL").fetchall()
    assert found == [("s", 0, 1), ("s", 1, 9), ("t", 0, 5)]


def test_a_reader_keeps_its_snapshot_and_a_new_one_sees_the_load(warehouse: Path) -> None:
    load("checkpoints", 2)
    with reading() as old:
        with publish() as connection:
            replace_rows(connection, "checkpoints", FACTS, [1, 5], where=SLICE)
            assert len(rows(old)) == 2
            with reading() as during:
                assert len(rows(during)) == 2
        assert len(rows(old)) == 2
        with reading() as new:  # in the same process, beside the old one
            assert len(rows(new)) == 5
        assert len(rows(old)) == 2


def test_a_reader_cannot_write(warehouse: Path) -> None:
    load("checkpoints", 1)
    with reading() as connection, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        connection.execute("DELETE FROM checkpoints")


def test_a_path_with_a_quote_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "it's here"))
    assert load("checkpoints", 1) == 1
    with reading() as connection:
        assert rows(connection) == [(0, 1)]


class StopError(BaseException):
    """Like a KeyboardInterrupt: nothing catches it on the way."""


@pytest.mark.parametrize("error", [ValueError("mine"), StopError()])
def test_an_error_in_the_block_leaves_the_old_file_byte_for_byte(
    warehouse: Path, error: BaseException
) -> None:
    load("checkpoints", 2)
    before = (warehouse / "memo.duckdb").read_bytes()

    def fail() -> None:
        with publish() as connection:
            replace_rows(connection, "checkpoints", FACTS, [1, 5], where=SLICE)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert (warehouse / "memo.duckdb").read_bytes() == before
    assert files(warehouse) == ["memo.duckdb"]


def test_an_error_in_the_first_load_leaves_no_warehouse(warehouse: Path) -> None:
    with pytest.raises(ValueError, match="mine"), publish():
        raise ValueError("mine")
    assert files(warehouse) == []


@pytest.mark.parametrize("samples", [[], [4], [1, 2, 3], [3, 1, 2]])
def test_keys_may_come_in_any_order(warehouse: Path, samples: list[int]) -> None:
    query = "SELECT 's' AS study, 0 AS split_seed, 0.0 AS epoch, unnest(?::INTEGER[]) AS sample_id"
    with publish() as connection:
        assert replace_rows(connection, "logits", query, [samples], where={"study": "s"}) == len(samples)


@pytest.mark.parametrize(
    ("table", "query", "message"),
    [
        (
            "logits",
            "SELECT 's' AS study, 0 AS split_seed, 0.0 AS epoch, 7 AS sample_id FROM range(3)",
            r"table logits: 2 of 3 new rows repeat a key \(study, split_seed, epoch, sample_id\); nothing was changed",
        ),
        (
            "logits",
            "SELECT 's' AS study, 0 AS split_seed, 0.0 AS epoch, unnest([2, 3, 2]) AS sample_id",
            r"table logits: 1 of 3 new rows repeat a key",
        ),
        (
            "checkpoints",
            "SELECT 's' AS study, 0 AS split_seed, 0.0 AS epoch FROM range(2)",
            r"table checkpoints: new rows repeat a key \(study, split_seed, epoch\) .*nothing was changed",
        ),
        (
            "checkpoints",
            "SELECT 's' AS study, 0 AS split_seed, NULL::DOUBLE AS epoch",
            r"table checkpoints: new rows repeat a key .* or lack a part of it",
        ),
        (
            "checkpoints",
            "SELECT unnest(['s', 't', 'u']) AS study, 0 AS split_seed, 0.0 AS epoch",
            r"table checkpoints: 2 of 3 new rows lie outside \{'study': 's'\}; nothing was changed",
        ),
    ],
)
def test_rows_that_break_a_table_are_refused(warehouse: Path, table: str, query: str, message: str) -> None:
    load("checkpoints", 2)
    before = (warehouse / "memo.duckdb").read_bytes()
    with pytest.raises(WarehouseError, match=message), publish() as connection:
        replace_rows(connection, table, query, [], where=SLICE)
    assert (warehouse / "memo.duckdb").read_bytes() == before
    assert files(warehouse) == ["memo.duckdb"]


FULL_DISK = """
import resource
from pathlib import Path
from memo_assets.store.rows import replace_rows
from memo_assets.store.tables import WarehouseError, publish
size = Path({path!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + {room}, size + {room}))
query = "SELECT 's' AS study, 0 AS split_seed, 0.0 AS epoch, i AS sample_id, hash(i) AS loss FROM range(400000) t(i)"
try:
    with publish() as connection:
        replace_rows(connection, "logits", query, [], where={{"study": "s"}})
except WarehouseError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [-100_000, 300_000])
def test_a_full_disk_is_a_clear_error_and_leaves_the_old_file(warehouse: Path, room: int) -> None:
    # A limit on the size of files stands for the full disk: it needs no rights. Room for less than the copy, or more.
    load("checkpoints", 2)
    path = warehouse / "memo.duckdb"
    before = path.read_bytes()
    script = FULL_DISK.format(path=str(path), room=room)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"{path} was left as it was, the load failed: ")
    assert "File too large" in run.stdout
    assert path.read_bytes() == before
    assert files(warehouse) == ["memo.duckdb"]
    assert load("checkpoints", 3) == 3


KILLED = """
import os
from memo_assets.store.tables import connect, publish
{body}
os._exit(9)
"""


def test_leftovers_of_a_killed_load_are_removed_by_the_next(warehouse: Path) -> None:
    load("checkpoints", 2)
    before = (warehouse / "memo.duckdb").read_bytes()
    body = (
        "block = publish(); c = block.__enter__(); c.execute('DELETE FROM checkpoints'); c.execute('COMMIT')"
    )
    subprocess.run([sys.executable, "-c", KILLED.format(body=body)], check=False)
    assert (warehouse / "memo.duckdb").read_bytes() == before
    assert len(files(warehouse)) > 1
    load("checkpoints", 3)
    assert files(warehouse) == ["memo.duckdb"]


def test_what_a_killed_direct_writer_committed_is_kept_by_the_next_load(warehouse: Path) -> None:
    load("checkpoints", 2)
    body = "c = connect(read_only=False); c.execute(\"INSERT INTO checkpoints BY NAME SELECT 't' study, 0 split_seed, 0 epoch\")"
    subprocess.run([sys.executable, "-c", KILLED.format(body=body)], check=False)
    assert files(warehouse) == ["memo.duckdb", "memo.duckdb.wal"]
    load("checkpoints", 3)
    with reading() as connection:
        found = connection.execute("SELECT study, count(*) FROM checkpoints GROUP BY 1 ORDER BY 1").fetchall()
    assert found == [("s", 3), ("t", 1)]
    assert files(warehouse) == ["memo.duckdb"]


def _load_one(study: str) -> None:
    with publish() as connection:
        query = "SELECT ? AS study, 0 AS split_seed, 0.0 AS epoch"
        replace_rows(connection, "checkpoints", query, [study], where={"study": study})


def test_writers_of_several_processes_wait_for_each_other(warehouse: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_load_one, args=(f"s{number}",)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with reading() as connection:
        found = connection.execute("SELECT study FROM checkpoints ORDER BY 1").fetchall()
    assert found == [("s0",), ("s1",), ("s2",)]
