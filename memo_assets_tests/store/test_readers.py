"""A reader that stays in the midst of its result while loads are published: neither waits, neither fails."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from memo_assets.store.rows import replace_rows
from memo_assets.store.tables import publish, reading

ROWS = 600_000  # several times what DuckDB reads ahead of a cursor
QUERY = "SELECT 's' AS study, i % 3 AS split_seed, 0.0 AS epoch, i AS sample_id, ?::FLOAT AS loss FROM range(?) t(i)"

# Answers every line it is given: `next` with ten thousand rows more, `rest` with all that are left, `again` with a new
# query of the same connection; each answer is a number of rows and the losses among them.
READER = """
import sys
from memo_assets.store.tables import reading
with reading() as connection:
    cursor = connection.cursor()
    cursor.execute("USE memo")
    for one in (connection, cursor):
        one.execute("SET enable_progress_bar = false")  # DuckDB takes a script given by -c for a person
    cursor.execute("SELECT loss FROM logits")
    print("open", flush=True)
    for line in sys.stdin:
        if line.strip() == "again":
            rows = connection.execute("SELECT loss FROM logits").fetchall()
        else:
            rows = cursor.fetchmany(10_000) if line.strip() == "next" else cursor.fetchall()
        print(len(rows), sorted({loss for loss, in rows}), flush=True)
"""


class Reader:
    """A process that holds a result open."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def answer(self, word: str = "") -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if word:
            print(word, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


@contextmanager
def reader() -> Iterator[Reader]:
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        found = Reader(process)
        assert found.answer() == "open"
        try:
            yield found
        except BaseException:
            process.kill()
            raise
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def load(connection: duckdb.DuckDBPyConnection, loss: float, rows: int = ROWS) -> None:
    replace_rows(connection, "logits", QUERY, [loss, rows], where={"study": "s"})


def seen_by_a_new_reader() -> tuple:
    with reading() as connection:
        return connection.execute("SELECT count(*), min(loss), max(loss) FROM logits").fetchall()[0]


def test_a_reader_mid_result_and_loads_do_not_wait_for_each_other(warehouse: Path) -> None:
    with publish() as connection:
        load(connection, 1)
    with reader() as old:
        assert old.answer("next") == "10000 [1.0]"
        began = time.monotonic()
        for loss in (2, 3):
            with publish() as connection:  # here the reader does nothing, and the load ends
                load(connection, loss, ROWS + loss)
                assert (
                    old.answer("next") == "10000 [1.0]"
                )  # here the load does nothing, and the reader goes on
            assert old.answer("next") == "10000 [1.0]"
            assert seen_by_a_new_reader() == (ROWS + loss, loss, loss)
        time.sleep(max(0.0, began + 2 - time.monotonic()))  # the result has been open for seconds
        assert old.answer("again") == f"{ROWS} [1.0]"  # one snapshot for all that the connection asks
        assert old.answer("rest") == f"{ROWS - 50_000} [1.0]"
        with reader() as new:
            assert new.answer("rest") == f"{ROWS + 3} [3.0]"
