"""Atomic files, folders and content hashes."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from memo_assets.store.files import (
    atomic_path,
    content_hash,
    read_json,
    replace_folder,
    write_bytes,
    write_json,
    write_parquet,
    write_text,
)


class CrashError(BaseException):
    """Like a KeyboardInterrupt: nothing catches it on the way."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_crash_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def crash() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise CrashError

    with pytest.raises(CrashError):
        crash()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_writers_make_missing_folders(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\xff")
    write_text(tmp_path / "d" / "e.txt", "São")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "d" / "e.txt").read_bytes() == "São".encode()


def test_json_goes_and_comes_back_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"b": [1, None, 0.1], "a": "São"}
    write_json(path, content)
    assert read_json(path) == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert read_json(path) == content
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff"])
def test_broken_json_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{path} is not valid JSON .*; remove it and materialize its asset again"
    ):
        read_json(path)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    def table() -> pa.Table:
        return pa.table({"sample_id": pa.array([1, 2]), "options": pa.array([["a"], ["b", "c"]])})

    write_parquet(tmp_path / "a.parquet", table())
    write_parquet(tmp_path / "b.parquet", table())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def folder_of(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "out" / "seed=0", {"old.txt": "1"})
    replace_folder(folder_of(tmp_path / "work", {"new.txt": "2", "deep/er.txt": "3"}), final)
    assert names(final) == ["deep", "new.txt"]
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["seed=0"]


def test_a_folder_may_be_the_first(tmp_path: Path) -> None:
    replace_folder(folder_of(tmp_path / "work", {"a": "1"}), tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y" / "a").read_text() == "1"


def test_the_old_folder_is_put_back_if_the_new_one_cannot_be_moved(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "out" / "seed=0", {"old.txt": "1"})
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "nothing", final)
    assert (final / "old.txt").read_text() == "1"
    assert names(tmp_path / "out") == ["seed=0"]


def test_a_content_hash_is_stable(tmp_path: Path) -> None:
    files = {"b.txt": "2", "a.txt": "1", "deep/c.txt": "3"}
    one, other = (
        folder_of(tmp_path / "one", files),
        folder_of(tmp_path / "two" / "other", dict(reversed(files.items()))),
    )
    assert content_hash(one) == content_hash(other)
    assert content_hash(one / "a.txt") == content_hash(other / "a.txt")
    assert len(content_hash(one)) == 32
    assert int(content_hash(one), 16) >= 0


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": "1", "deep/c.txt": "4"},
        {"b.txt": "1", "deep/c.txt": "3"},
        {"a.txt": "1", "c.txt": "3"},
        {"a.txt": "1"},
        {"a.txt": "1", "deep/c.txt": "3", "empty": ""},
        {"a.txt": "3", "deep/c.txt": "1"},
    ],
)
def test_a_content_hash_sees_every_name_and_byte(tmp_path: Path, files: dict[str, str]) -> None:
    before = content_hash(folder_of(tmp_path / "before", {"a.txt": "1", "deep/c.txt": "3"}))
    assert content_hash(folder_of(tmp_path / "after", files)) != before


def test_a_content_hash_depends_on_the_order_of_paths_and_refuses_missing_ones(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "1", {"a": "1"}), folder_of(tmp_path / "2", {"a": "2"})
    assert content_hash(one, other) != content_hash(other, one)
    with pytest.raises(FileNotFoundError):
        content_hash(one, tmp_path / "nothing")


def test_json_is_written_in_one_form(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert content_hash(tmp_path / "a.json") != content_hash(tmp_path / "b.json")  # the name counts
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 2, "b": 1}


def test_what_killed_attempts_left_is_removed(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "out" / "seed=1", {"old.txt": "1"})
    folder_of(tmp_path / "out" / ".seed=1.0badcafe.old", {"older.txt": "0"})
    folder_of(tmp_path / "out" / ".seed=10.0badcafe.old", {"other.txt": "0"})
    replace_folder(folder_of(tmp_path / "work", {"new.txt": "2"}), final)
    assert names(tmp_path / "out") == [".seed=10.0badcafe.old", "seed=1"]
    assert names(final) == ["new.txt"]
