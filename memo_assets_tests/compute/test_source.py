"""The hash that tells whether submitter and worker run the same source."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memo_assets.compute import source
from memo_assets.compute.source import source_version


def version() -> str:
    """As a new process finds it."""
    source_version.cache_clear()
    return source_version()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that can be edited."""
    folder = tmp_path / "memo_assets"
    shutil.copytree(source._PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    original = version()
    monkeypatch.setattr(source, "_PACKAGE", folder)
    assert version() == original  # where it lies does not count
    yield folder
    source_version.cache_clear()


def test_sixteen_digits_that_a_process_finds_once(package: Path) -> None:
    before = source_version()
    assert len(before) == 16
    assert int(before, 16) >= 0
    (package / "graph.py").write_text("")
    assert source_version() == before  # what it has imported, not what was edited since
    assert version() != before


@pytest.mark.parametrize(
    "module",
    [
        "graph.py",
        "compute/worker.py",
        "compute/slurm/node.py",
        "config/compute.py",
        "data/splits.py",
        "measures/smi.py",
        "models/tiny_llama.py",
        "store/layout.py",
        "training/loop.py",
    ],
)
def test_it_changes_with_every_module_that_a_worker_runs(package: Path, module: str) -> None:
    before = version()
    path = package / module
    content = path.read_bytes()
    path.write_bytes(content + b"# another line\n")
    assert version() != before
    path.write_bytes(content)
    assert version() == before


@pytest.mark.parametrize("module", ["figures/theme.py", "assets/training.py", "cli.py", "definitions.py"])
def test_it_does_not_change_with_figures_assets_and_the_command_line(package: Path, module: str) -> None:
    before = version()
    path = package / module
    path.write_bytes(path.read_bytes() + b"# another line\n")
    assert version() == before


def test_it_changes_when_a_module_is_added_renamed_or_removed(package: Path) -> None:
    seen = [version()]
    added = package / "training" / "more.py"
    added.write_text("MORE = 1\n")
    seen.append(version())
    renamed = added.rename(package / "training" / "much_more.py")
    seen.append(version())
    moved = renamed.rename(package / "compute" / "much_more.py")
    seen.append(version())
    assert len(set(seen)) == 4
    moved.unlink()
    assert version() == seen[0]


def test_what_is_no_source_does_not_count(package: Path) -> None:
    before = version()
    cached = package / "compute" / "__pycache__"
    cached.mkdir()
    (cached / "worker.cpython-311.pyc").write_bytes(b"x")
    (package / "compute" / "notes.txt").write_text("x")
    assert version() == before


def test_what_counts_imports_nothing_of_the_package_that_does_not() -> None:
    for part in source._WORKER_PARTS:
        path = source._PACKAGE / part
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    if name is not None and name.startswith("memo_assets"):
                        top = name.split(".")[1]
                        assert {top, f"{top}.py"} & set(source._WORKER_PARTS), f"{file} imports {name}"
