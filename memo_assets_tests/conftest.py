"""What tests of all folders share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from xdist.scheduler import LoadFileScheduling

# Tests that look at the demo studies, which are made once a process.
_DEMO = ("end_to_end/test_results.py", "end_to_end/test_web_ui.py")


# Those that wait most come first, so that others have the processors meanwhile and nobody waits for them at the end.
_FIRST = ("automation/test_daemon.py", "slurm/", *_DEMO)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long waits first; the order is kept otherwise."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in _FIRST))


# Folders whose tests share what is made once a process.
_TOGETHER = ("audit", "automation", "faults", "lineage", "security")


class _ByFile(LoadFileScheduling):
    """The tests of a file go to one process, and so do all of the demo studies, and all of a folder that shares a warehouse."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = file.split("/")[-2]
        if folder in _TOGETHER:
            return folder
        return "demo" if file.endswith(_DEMO) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """How `pytest -n` shares tests out. (`--dist loadgroup` of pytest-xdist 3.8 groups nothing under pytest 9.2.)"""
    config.option.loadscopereorder = False
    return _ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def own_studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder in the place of the user's own studies, which tests neither read nor change."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("own_studies")
        patch.setenv("MEMO_STUDIES", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """SQLite need not survive a power cut in a test: no waiting for the disk at every event."""

    def hurry(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """The umask of a usual shell, whatever a command called in this process has made of it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty warehouse directory, with Dagster's home below it; both take the place of the user's own."""
    folder = tmp_path / "year=2026" / "warehouse"  # DuckDB must not read a column out of the path
    folder.mkdir(parents=True)
    monkeypatch.setenv("MEMO_WAREHOUSE", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
    return folder


@pytest.fixture
def no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No browser for PNGs, which take seconds: for tests of whole studies that do not look at pictures."""
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
