"""The copy made ahead: it is used when it certainly is a copy of what is published, and else nothing is lost but time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from memo_assets.store import spare
from memo_assets.store.spare import copying_ahead, put_in_place, take_spare
from memo_assets.store.tables import publish, reading
from memo_assets_tests.store.test_readers import reader
from memo_assets_tests.store.test_tables import files, load, rows

HEAD = """
import os, resource, shutil, signal, sys, time
from concurrent.futures import wait
from pathlib import Path
from memo_assets.store import spare
from memo_assets.store.spare import copying_ahead, put_in_place, take_spare
from memo_assets.store.rows import replace_rows
from memo_assets.store.tables import WarehouseError, connect, publish, reading
from memo_assets_tests.store.test_tables import load, rows
"""


def other_process(body: str) -> str:
    """What a process of its own prints; its errors are those of the test."""
    run = subprocess.run([sys.executable, "-c", HEAD + body], capture_output=True, text=True, check=False)
    assert run.returncode in (0, -signal.SIGKILL), run.stderr
    return run.stdout.strip()


def published(warehouse: Path) -> Path:
    return warehouse / "memo.duckdb"


def spares(warehouse: Path) -> list[Path]:
    return list(warehouse.glob(".memo.duckdb.*.tmp"))


def finished_spare(warehouse: Path) -> Path:
    """The spare of this process, when its thread has ended."""
    assert spare._ahead is not None
    assert spare._ahead._spare is not None
    wait([spare._ahead._spare._made])
    (path,) = spares(warehouse)
    return path


@contextmanager
def knowing_the_spare(warehouse: Path) -> Iterator[Callable[[], bool]]:
    """Tells whether the published file is what was the spare at first; held open, its inode cannot go to another file."""
    with finished_spare(warehouse).open("rb") as held:
        yield lambda: os.path.samestat(os.fstat(held.fileno()), published(warehouse).stat())


def found() -> list[tuple]:
    with reading() as connection:
        return rows(connection)


def expected(n: int, value: float = 1) -> list[tuple]:
    return [(seed, value) for seed in range(n)]


def test_the_next_publication_uses_the_spare(warehouse: Path) -> None:
    load("checkpoints", 2)
    with copying_ahead():
        for n in (3, 4, 5):
            load("checkpoints", n)
            assert finished_spare(warehouse).read_bytes() == published(warehouse).read_bytes()
            with knowing_the_spare(warehouse) as published_it:
                assert not published_it()
                load("checkpoints", n, value=2)
                assert published_it()
            assert found() == expected(n, 2)
    assert files(warehouse) == ["memo.duckdb"]


def test_a_spare_still_in_the_making_is_waited_for(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_TICK", 0.5)
    monkeypatch.setattr(shutil, "copyfile", None)  # without the spare, there is no publishing
    with copying_ahead():
        for n in (3, 4):
            load("checkpoints", n)
            assert spares(warehouse) == []
    assert found() == expected(4)


def test_outside_the_block_nothing_is_copied_ahead(warehouse: Path) -> None:
    with copying_ahead():
        load("checkpoints", 2)
        finished_spare(warehouse)
    load("checkpoints", 3)
    time.sleep(0.2)
    assert files(warehouse) == ["memo.duckdb"]


@pytest.mark.parametrize("tick", [0.0, 100.0])  # the copy is finished, or it is about to be begun
def test_an_error_in_the_block_leaves_no_spare(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, tick: float
) -> None:
    monkeypatch.setattr(spare, "_TICK", tick)

    def fail() -> None:
        with copying_ahead():
            load("checkpoints", 2)
            if not tick:
                finished_spare(warehouse)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert files(warehouse) == ["memo.duckdb"]
    load("checkpoints", 3)
    assert files(warehouse) == ["memo.duckdb"]


def test_what_is_published_is_the_same_with_and_without(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def several() -> dict[str, list[tuple]]:
        for round_ in range(3):
            load("logits", 40_000 + round_, value=round_)
            load("checkpoints", 3 + round_, value=round_)
        with reading() as connection:
            names = [
                name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            ]
            return {name: connection.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in names}

    with copying_ahead():
        ahead = several()
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "other"))
    assert several() == ahead
    assert len(ahead["logits"]) == 40_002


def test_a_load_that_fails_on_a_spare_leaves_the_published_file(warehouse: Path) -> None:
    def fail() -> None:
        with publish() as connection:
            connection.execute("DELETE FROM checkpoints")
            connection.execute("COMMIT")
            raise ValueError("mine")

    with copying_ahead():
        load("checkpoints", 2)
        finished_spare(warehouse)
        before = published(warehouse).read_bytes()
        with pytest.raises(ValueError, match="mine"):
            fail()
        assert published(warehouse).read_bytes() == before
        assert files(warehouse) == ["memo.duckdb"]
        load("checkpoints", 3)
    assert found() == expected(3)


def test_what_another_process_published_in_between_is_kept(warehouse: Path) -> None:
    with copying_ahead():
        load("checkpoints", 2)
        with knowing_the_spare(warehouse) as published_it:
            other_process("load('logits', 4)")
            load("checkpoints", 3)
            assert not published_it()
        with reading() as connection:
            assert rows(connection) == expected(3)
            assert rows(connection, "logits") == expected(4)
        finished_spare(warehouse)  # and it is made ahead again


def test_a_spare_that_another_process_removed_is_not_missed(warehouse: Path) -> None:
    body = "try:\n    with publish():\n        raise ValueError\nexcept ValueError:\n    pass"
    with copying_ahead():
        load("checkpoints", 2)
        finished_spare(warehouse)
        other_process(body)
        assert files(warehouse) == ["memo.duckdb"]
        load("checkpoints", 3)
        assert found() == expected(3)


def test_a_spare_removed_while_it_is_written_is_not_missed(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("checkpoints", 2)
    removed = []

    def removed_then_synchronized(number: int, fsync=os.fsync) -> None:
        if removed == []:
            removed.extend(spares(warehouse))
            removed[0].unlink()
        fsync(number)

    copy = warehouse / "copy"
    shutil.copyfile(published(warehouse), copy)
    with copying_ahead():
        monkeypatch.setattr(os, "fsync", removed_then_synchronized)
        put_in_place(copy, published(warehouse))
        assert take_spare(published(warehouse)) is None
    assert len(removed) == 1
    load("checkpoints", 3)
    assert found() == expected(3)


DIRECT = """
connection = connect(read_only=False)
connection.execute("INSERT INTO checkpoints BY NAME SELECT 't' study, 0 split_seed, 0 epoch")
"""


@pytest.mark.parametrize("end", ["connection.close()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_a_direct_writer_changed_is_kept(warehouse: Path, end: str) -> None:
    with copying_ahead():
        load("checkpoints", 2)
        with knowing_the_spare(warehouse) as published_it:
            other_process(DIRECT + end)
            assert (warehouse / "memo.duckdb.wal").exists() == ("kill" in end)
            load("checkpoints", 3)
            assert not published_it()
        with reading() as connection:
            by_study = "SELECT study, count(*) FROM checkpoints GROUP BY 1 ORDER BY 1"
            assert connection.execute(by_study).fetchall() == [("s", 3), ("t", 1)]


def test_a_file_put_back_by_hand_is_what_the_next_load_changes(warehouse: Path) -> None:
    load("checkpoints", 2)
    load("logits", 2, value=1)
    earlier, value = published(warehouse).read_bytes(), 1
    with copying_ahead():
        while value == 1 or len(earlier) != published(warehouse).stat().st_size:
            value += 1
            load("logits", 2, value=value)
        finished_spare(warehouse)
        now = published(warehouse).stat()
        published(warehouse).write_bytes(earlier)
        os.utime(published(warehouse), ns=(now.st_atime_ns, now.st_mtime_ns))  # as copying programs do
        load("checkpoints", 3)
        with reading() as connection:
            assert rows(connection, "logits") == expected(2, 1)


def test_a_direct_writer_still_waits_for_a_reader(warehouse: Path) -> None:
    """DuckDB's lock is the process's: closing the file anywhere in it would let the writer change what is being read."""
    with copying_ahead():
        load("checkpoints", 2)
        with reading() as connection:
            finished_spare(warehouse)
            body = "try:\n    connect(read_only=False)\nexcept WarehouseError as error:\n    print(error)"
            assert "holds it open" in other_process(body)
            assert rows(connection) == expected(2)


def test_readers_of_the_old_file_go_on_reading(warehouse: Path) -> None:
    with copying_ahead():
        load("logits", 600_000, value=1)
        with reading() as old, reader() as other:
            cursor = old.execute("SELECT loss FROM logits")
            for value in (2, 3):
                load("logits", 600_000, value=value)
                finished_spare(warehouse)  # after the old file was closed
                assert other.answer("next") == "10000 [1.0]"
                assert set(cursor.fetchmany(10_000)) == {(1.0,)}
            assert other.answer("again") == "600000 [1.0]"
            assert other.answer("rest") == "580000 [1.0]"
            assert set(cursor.fetchall()) == {(1.0,)}


def test_the_old_file_is_freed(warehouse: Path) -> None:
    def held() -> list[str]:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [target for link in links if str(warehouse) in (target := str(link.readlink()))]

    with copying_ahead():
        for n in (2, 3, 4):
            load("checkpoints", n)
            finished_spare(warehouse)
            assert held() == [str(published(warehouse))]
    assert held() == []


FULL = """
path = Path(sys.argv[1])
copy = path.with_name("copy")
shutil.copyfile(path, copy)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
with copying_ahead():
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 100_000, unlimited[1]))
    put_in_place(copy, path)
    wait([spare._ahead._spare._made])
    left = list(path.parent.glob(".*tmp"))  # others have the space again at once
    print(take_spare(path), left)
    try:
        load("checkpoints", 3)
    except WarehouseError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    load("checkpoints", 3)
with reading() as connection:
    print(len(rows(connection)))
"""


def test_a_disk_too_full_for_the_spare_is_told_by_the_publication_alone(warehouse: Path) -> None:
    # A limit on the size of files stands for the full disk: it needs no rights.
    load("checkpoints", 2)
    command = [sys.executable, "-c", HEAD + FULL, str(published(warehouse))]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    none, error, count = run.stdout.splitlines()
    assert none == "None []"
    assert error.startswith(f"{published(warehouse)} was left as it was, the load failed: ")
    assert "File too large" in error
    assert count == "3"
    assert run.stderr == ""
    assert files(warehouse) == ["memo.duckdb"]


def test_a_spare_of_a_killed_process_is_removed_by_the_next_load(warehouse: Path) -> None:
    body = """
block = copying_ahead(); block.__enter__(); load("checkpoints", 2)
while not spare._ahead._spare._made.done(): time.sleep(.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    other_process(body)
    (left,) = spares(warehouse)
    assert left.read_bytes() == published(warehouse).read_bytes()
    with copying_ahead():
        load("checkpoints", 3)
        assert finished_spare(warehouse) != left
    assert files(warehouse) == ["memo.duckdb"]
    assert found() == expected(3)


INTERRUPTED = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
spare._TICK = 1000  # the copy does not come
with copying_ahead():
    load("checkpoints", 2)
    print("waits", flush=True)
    load("checkpoints", 3)
"""


def test_an_interrupt_ends_the_waiting_for_a_spare(warehouse: Path) -> None:
    command = [sys.executable, "-c", HEAD + INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert files(warehouse) == ["memo.duckdb"]
    assert found() == expected(2)
