"""What is read of logs and progress while others write them."""

from pathlib import Path

import pytest

from memo_assets.compute.items import ItemResult, Progress
from memo_assets.compute.outcomes import LogTail, Outcome, read_progress
from memo_assets.store.files import write_json

from .small_items import item, small_study

MOST = 64_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def add(log: Path, content: bytes) -> None:
    with log.open("ab") as stream:
        stream.write(content)


def test_new_lines_come_once_and_whole(log: Path) -> None:
    tail = LogTail(log)
    add(log, b"one\ntwo\nthr")
    assert tail.read() == "one\ntwo"
    assert tail.read() == ""
    add(log, b"ee\nfour")
    assert tail.read() == "three"
    assert tail.read(rest=True) == "four"
    assert tail.read(rest=True) == ""


def test_a_character_written_in_two_halves_comes_whole(log: Path) -> None:
    tail = LogTail(log)
    add(log, "Zürich\nGen".encode() + "è".encode()[:1])
    assert tail.read() == "Zürich"
    add(log, "è".encode()[1:] + b"ve\n")
    assert tail.read() == "Genève"


def test_a_log_that_appears_late_is_read_from_its_start(log: Path) -> None:
    tail = LogTail(log, from_start=False)
    assert tail.read() == tail.read(rest=True) == ""
    add(log, b"one\n")
    assert tail.read() == "one"


def test_what_an_earlier_attempt_logged_is_left_out(log: Path) -> None:
    add(log, b"of yesterday\n")
    tail = LogTail(log, from_start=False)
    assert tail.read() == ""
    add(log, b"of today\n")
    assert tail.read() == "of today"
    assert LogTail(log).read() == "of yesterday\nof today"


def test_a_log_begun_anew_is_read_from_its_start(log: Path) -> None:
    tail = LogTail(log)
    add(log, b"first attempt, a long line\n")
    assert tail.read() == "first attempt, a long line"
    log.write_bytes(b"second\n")
    assert tail.read() == "second"
    log.unlink()
    assert tail.read(rest=True) == ""


@pytest.mark.parametrize("before", [b"", b"seen\n"])
def test_of_a_flood_only_the_end_comes_with_the_number_of_bytes_left_out(log: Path, before: bytes) -> None:
    tail = LogTail(log)
    add(log, before)
    tail.read()
    lines = b"".join(b"%09d\n" % number for number in range(7_000))
    add(log, lines)
    note, *rest = tail.read().split("\n")
    assert note == "... 6000 bytes left out ..."
    assert rest == [f"{number:09d}" for number in range(600, 7_000)]
    add(log, b"after\n")
    assert tail.read() == "after"


@pytest.mark.parametrize(("size", "whole"), [(MOST, True), (MOST + 1, False)])
def test_up_to_64_kilobytes_come_whole(log: Path, size: int, whole: bool) -> None:
    tail = LogTail(log)
    add(log, b"x" * (size - 1) + b"\n")
    assert tail.read() == ("x" * (MOST - 1) if whole else f"... 1 bytes left out ...\n{'x' * (MOST - 1)}")


def test_bytes_that_are_no_utf8_are_replaced(log: Path) -> None:
    tail = LogTail(log)
    add(log, b"caf\xe9 \xff\nfine\n")
    assert tail.read() == "caf\ufffd \ufffd\nfine"


def test_lines_without_text_are_nothing_new(log: Path) -> None:
    tail = LogTail(log)
    add(log, b"\n\n")
    assert tail.read() == ""


def test_progress_is_none_until_the_item_has_said(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [0])
    assert read_progress(given.folder) is None
    write_json(given.folder / "progress.json", {"done": 3, "total": 10, "unit": "steps"})
    assert read_progress(given.folder) == Progress(done=3, total=10, unit="steps")


def test_all_units_are_wanted_unless_some_are_named(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [2, 3])
    assert Outcome(given, ItemResult(), None).wanted == [2, 3]
    assert Outcome(given, ItemResult(), None, units=(3,)).wanted == [3]
    assert Outcome(given.only([]), ItemResult(), None).wanted == [-1]
    assert Outcome(given, ItemResult(), None).log_end == ""
