"""Where files lie."""

from pathlib import Path

import pytest

from memo_assets.store.layout import Layout, dagster_home, database_path, epoch_folder, warehouse_dir


def test_the_environment_says_where_the_warehouse_is(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warehouse_dir() == warehouse
    assert database_path() == warehouse / "memo.duckdb"
    assert dagster_home() == warehouse / "dagster_home"
    monkeypatch.setenv("MEMO_WAREHOUSE", "elsewhere")
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.chdir(warehouse)
    assert warehouse_dir() == warehouse / "elsewhere"
    assert dagster_home() == warehouse / "elsewhere" / "dagster_home"


def test_a_file_is_no_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memo.duckdb").touch()
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "memo.duckdb"))
    with pytest.raises(NotADirectoryError, match=r"memo.duckdb is a file; name the directory that holds it"):
        warehouse_dir()


@pytest.mark.parametrize(("epoch", "folder"), [(0.0, "epoch=0"), (0.2, "epoch=0.2"), (12.0, "epoch=12")])
def test_folders_of_checkpoints(epoch: float, folder: str) -> None:
    assert epoch_folder(epoch) == folder


def test_every_step_has_an_output() -> None:
    layout = Layout(Path("w"), "s")
    root = Path("w/artifacts/s")
    assert layout.output("adapters", 3) == root / "adapters" / "seed=3" / "training.json"
    assert layout.output("split_masks", 3) == root / "split_masks" / "seed=3.parquet"
    assert layout.output("figure_roc") == root / "figures" / "figure_roc.html"
    assert layout.output("memorization") == Path("w/memo.duckdb")
