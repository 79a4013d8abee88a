"""What tests of all folders share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one process go the tests of a file, and all that look at the demo studies: these are made once."""
    for item in items:
        demo = "platform" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("demo" if demo else str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def own_studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder in the place of the user's own studies, which tests neither read nor change."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("own_studies")
        patch.setenv("MEMO_STUDIES", str(folder))
        yield folder


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty warehouse directory, with Dagster's home below it; both take the place of the user's own."""
    folder = tmp_path / "year=2026" / "warehouse"  # DuckDB must not read a column out of the path
    folder.mkdir(parents=True)
    monkeypatch.setenv("MEMO_WAREHOUSE", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
    return folder
