"""One finished warehouse of each small study, made once, and copies of it to be broken."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memo_assets_tests.faults.command import Place, place

Finished = Callable[[str], Place]
CopyOf = Callable[[str], Place]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The warehouse of an undisturbed run of a study; not to be changed."""
    made: dict[str, Place] = {}

    def of(name: str) -> Place:
        if name not in made:
            there = place(tmp_path_factory.mktemp(name), name)
            there.well()
            made[name] = there
        return made[name]

    return of


@pytest.fixture
def copy_of(finished: Finished, tmp_path: Path) -> CopyOf:
    """A copy of a finished warehouse and of its study's file, in other folders, to be broken at will."""

    def of(name: str) -> Place:
        return copied(finished(name), tmp_path)

    return of


def copied(there: Place, folder: Path) -> Place:
    """A copy of a warehouse and of its study's file; pages, which are only ever replaced, share their bytes."""

    def copy(source: str, target: str) -> None:
        (os.link if source.endswith(".html") else shutil.copy2)(source, target)

    shutil.copytree(there.warehouse, folder / "warehouse", copy_function=copy)
    study = folder / "studies" / there.study.parent.name / there.study.name
    study.parent.mkdir(parents=True)
    shutil.copy2(there.study, study)
    return replace(there, warehouse=folder / "warehouse", study=study)
