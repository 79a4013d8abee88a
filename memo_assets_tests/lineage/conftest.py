"""A study that was brought up to date once, for the tests of this folder to copy and change."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from memo_assets.config import Study
from memo_assets.instance import open_instance
from memo_assets.study import load_study
from memo_assets_tests.lineage.cheap import Words, attributes, run, state_of
from memo_assets_tests.studies import write_study


def _use(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MEMO_WAREHOUSE", str(folder / "warehouse"))
    patch.setenv("DAGSTER_HOME", str(folder / "warehouse" / "dagster_home"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, its table, and a warehouse in which all of it was made."""
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder, attributes(folder))
    with pytest.MonkeyPatch.context() as patch:
        _use(folder, patch)
        study = load_study(folder)
        with open_instance() as instance:
            run(study, Words(), instance)
            assert state_of(study, instance) == {}
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be changed at will, but for the table, which is where it was: its path is a setting of the study."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    _use(copy, monkeypatch)
    return copy


@pytest.fixture
def table(finished: Path) -> Iterator[Path]:
    """The table, to be changed; afterwards it is as it was."""
    path = finished / "rows.csv"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


@pytest.fixture
def study(folder: Path) -> Study:
    return load_study(folder)


@pytest.fixture
def instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance() as opened:
        yield opened


@pytest.fixture
def new(tmp_path: Path) -> Study:
    """A study of which nothing was made yet, on a table of its own."""
    write_study(tmp_path, attributes(tmp_path))
    return load_study(tmp_path)


@pytest.fixture
def empty(warehouse: Path) -> Iterator[dg.DagsterInstance]:
    """A record in which nothing was made yet."""
    with open_instance() as opened:
        yield opened
