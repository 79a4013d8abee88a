"""A disk that is full: one sentence names what is full and what to do; with space again, the same command goes on.

The warehouse lies on a small file system in memory (tmpfs), which takes the rights of root to mount.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from memo_assets.store.spare import copying_ahead, take_spare
from memo_assets.store.tables import publish
from memo_assets_tests.faults.command import LONG, Place, place
from memo_assets_tests.faults.conftest import CopyOf, Finished
from memo_assets_tests.faults.sameness import assert_same

FREE_KILOBYTES = [32, 200, 1_000, 3_000, 6_000, 9_000, 12_000] if LONG else [1_000]
SIZES = [1, 4, 8, 12, 16, 24, 40, 60] if LONG else []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("free", FREE_KILOBYTES)
def test_a_disk_that_fills_up_while_loading(
    finished: Finished, copy_of: CopyOf, disk: Path, free: int
) -> None:
    source = copy_of("tiny")
    (source.warehouse / "memo.duckdb").unlink()
    (source.artifacts / "logits" / "seed=2.parquet").unlink()
    resize(disk, 1_000_000)
    shutil.copytree(source.warehouse, disk / "warehouse")
    resize(disk, used(disk) + free)
    fills_up_and_goes_on(replace(source, warehouse=disk / "warehouse"), disk, finished("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", SIZES)
def test_a_disk_that_is_too_small_from_the_start(
    finished: Finished, tmp_path: Path, disk: Path, megabytes: int
) -> None:
    there = replace(place(tmp_path, "tiny"), warehouse=disk / "warehouse")
    resize(disk, 1000 * megabytes)
    fills_up_and_goes_on(there, disk, finished("tiny"))


def fills_up_and_goes_on(there: Place, disk: Path, wanted: Place) -> None:
    """The command ends with a sentence about the full disk; with space, it ends with the results that are wanted."""
    sentence = there.demo().sentence
    assert len(sentence.splitlines()) == 1
    assert str(there.warehouse) in sentence
    assert "ree space" in sentence
    assert "same command again" in sentence
    resize(disk, 1_000_000)
    there.well()
    assert_same(there.warehouse, wanted.warehouse, "tiny")
    assert "everything is fresh" in there.well().out


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


def used(disk: Path) -> int:
    """Kilobytes."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def test_no_copy_is_made_ahead_that_leaves_no_room_for_others(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(disk))
    path = disk / "memo.duckdb"
    resize(disk, 1_000_000)
    publish_nothing()
    size = path.stat().st_size // 1024
    with copying_ahead():
        for room, made in ((1.5, False), (3.5, True)):
            resize(disk, used(disk) + int(room * size))
            publish_nothing()  # frees what it takes
            assert (take_spare(path) is not None) == made
            resize(disk, 1_000_000)


def publish_nothing() -> None:
    with publish():
        pass
