"""Somebody else is at the warehouse: a second command, a reader, a program that holds the database open for writing."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from memo_assets_tests.faults.command import LONG, Place, long_form, place
from memo_assets_tests.faults.conftest import CopyOf, Finished
from memo_assets_tests.faults.sameness import assert_same

HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@long_form
@pytest.mark.parametrize("start", ["from nothing", "some files lost"])
def test_two_commands_at_once(finished: Finished, copy_of: CopyOf, tmp_path: Path, start: str) -> None:
    if start == "from nothing":
        there = place(tmp_path, "tiny")
    else:
        there = copy_of("tiny")
        (there.warehouse / "memo.duckdb").unlink()
        for seed in (2, 4):
            (there.artifacts / "logits" / f"seed={seed}.parquet").unlink()
    both = [there.start("demo", str(there.study)) for _ in range(2)]
    said = [process.communicate(timeout=500) for process in both]
    for process, (out, err) in zip(both, said, strict=True):
        assert "Traceback" not in out + err, out + err
        if process.returncode:
            assert "is being computed by run" in err or "another" in err, out + err
    assert any(process.returncode == 0 for process in both), said
    there.well()
    assert_same(there.warehouse, finished("tiny").warehouse, "tiny")
    assert "everything is fresh" in there.well().out


@long_form
def test_a_reader_does_not_wait_and_is_not_waited_for(copy_of: CopyOf) -> None:
    there = copy_of("tiny")
    asked = "SELECT sum(memorized::INTEGER) FROM memorization WHERE epoch = 2"
    with duckdb.connect(there.warehouse / "memo.duckdb", read_only=True) as reader:
        before = reader.execute(asked).fetchall()
        change(there, "labels", {"quantile": 0.5})
        there.well()
        assert reader.execute(asked).fetchall() == before
    with duckdb.connect(there.warehouse / "memo.duckdb", read_only=True) as reader:
        assert reader.execute(asked).fetchall() != before


@pytest.mark.parametrize("command", ["demo", "status", "sql"] if LONG else ["demo"])
def test_a_program_that_holds_the_database_open_for_writing_is_named(copy_of: CopyOf, command: str) -> None:
    there = copy_of("tiny")
    database = there.warehouse / "memo.duckdb"
    arguments = {"sql": ["SELECT 1 FROM samples"]}.get(command, [str(there.study)])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        sentence = there.memo(command, *arguments).sentence
        assert f"{database} cannot be opened: another program" in sentence
        assert f"PID {holder.pid}" in sentence
    finally:
        holder.communicate()
    assert there.memo(command, *arguments).code == 0


def change(there: Place, block: str, fields: dict[str, object]) -> None:
    """Change fields of the study's file."""
    document = yaml.safe_load(there.study.read_text(encoding="utf-8"))
    document["attributes"].setdefault(block, {}).update(fields)
    there.study.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
