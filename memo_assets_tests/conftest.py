"""What tests of all folders share."""

from pathlib import Path

import pytest


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty warehouse directory, with Dagster's home below it; both take the place of the user's own."""
    folder = tmp_path / "year=2026" / "warehouse"  # DuckDB must not read a column out of the path
    folder.mkdir(parents=True)
    monkeypatch.setenv("MEMO_WAREHOUSE", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
    return folder
