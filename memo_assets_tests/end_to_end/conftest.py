"""Both demo studies at a reduced size, materialized once through Dagster for all tests of this folder."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

from memo_assets.assets import comparison
from memo_assets.compute.choice import EXECUTOR_VARIABLE
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.staleness import StaleStatuses
from memo_assets.study import load_study


class Recorder:
    """A watcher that remembers what happened."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str, int]] = []
        self.done: list[tuple[str, str, str | None]] = []
        self.warned: list[tuple[str, str, str]] = []
        self.progress: list[Progress] = []
        self.logs: list[tuple[str, str]] = []
        self.states: list[str] = []

    def asset_started(self, study: Study, name: str, partitions: int) -> None:
        self.started.append((study.name, name, partitions))

    def partition_done(self, study: Study, name: str, partition: str | None) -> None:
        self.done.append((study.name, name, partition))

    def check_warned(self, study: Study, name: str, sentence: str) -> None:
        self.warned.append((study.name, name, sentence))

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        self.progress.append(progress)

    def on_log(self, item: WorkItem, text: str) -> None:
        self.logs.append((f"{item.study.name}/{item}", text))

    def on_state(self, text: str) -> None:
        self.states.append(text)


@dataclass
class Platform:
    """A warehouse of its own with the studies that were run in it."""

    warehouse: Path
    studies: dict[str, Study]
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    recorder: Recorder

    def run(self, study: Study) -> int:
        """Bring a study up to date, with these settings."""
        definitions = build_defs([study], {"observer": self.recorder})
        return bring_up_to_date(study, definitions, self.instance, self.recorder)


def changed(study: Study, **blocks: dict) -> Study:
    """A study with some fields of some blocks changed, checked like any other."""
    settings = study.model_dump()
    for block, fields in blocks.items():
        settings[block].update(fields)
    return Study.model_validate(settings)


def stale_causes(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, str]:
    """Why figures and page of the comparison are stale, by name; those that are fresh are left out."""
    statuses, found = StaleStatuses.now(definitions, instance), {}
    for name in (*comparison.FIGURES, comparison.REPORT):
        key = comparison.figure_key(name)
        if statuses.get_status(key) != StaleStatus.FRESH:
            found[name] = "; ".join(
                f"{cause.reason} ({cause.dependency.asset_key.to_user_string()})"
                if cause.dependency
                else cause.reason
                for cause in statuses.get_stale_causes(key)
            )
    return found


def reduced_digits() -> Study:
    """A third of the models and epochs, all images."""
    return changed(
        load_study("digits"),
        training={"epochs": 12, "checkpoints": [0, 0.4, 0.8, 1, 2, 4, 8, 12]},
        shadows={"models": 34, "block": 17},
        scores={"psmi_directions": 300, "smi_directions": 10},
        compute={"pack": 17},
    )


def reduced_cities() -> Study:
    """A third of the epochs, fewer models."""
    return changed(
        load_study("cities"),
        training={"epochs": 6, "checkpoints": [0, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6]},
        shadows={"models": 16, "block": 8},
        scores={"psmi_directions": 300, "smi_directions": 10},
        compute={"pack": 8},
    )


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    """One pool of workers for all tests: they import torch once."""
    with closing(LocalExecutor()) as pool:
        yield pool


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as patch:
        warehouse = tmp_path_factory.mktemp("warehouse")
        patch.setenv("MEMO_WAREHOUSE", str(warehouse))
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.delenv(EXECUTOR_VARIABLE, raising=False)
        studies = {study.name: study for study in (reduced_digits(), reduced_cities())}
        recorder = Recorder()
        definitions = build_defs(studies.values(), {"observer": recorder, "executor": executor})
        with open_instance() as instance:
            for study in studies.values():
                bring_up_to_date(study, definitions, instance, recorder)
            patch.setenv("DAGSTER_HOME", str(warehouse / "dagster_home"))
            yield Platform(warehouse, studies, definitions, instance, recorder)


@pytest.fixture
def own_copy(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the platform's warehouse and records, to be changed at will; files of studies and pictures are left out."""
    copy = tmp_path / "warehouse"
    shutil.copytree(platform.warehouse, copy, ignore=shutil.ignore_patterns("artifacts"))
    monkeypatch.setenv("MEMO_WAREHOUSE", str(copy))
    monkeypatch.setenv("DAGSTER_HOME", str(copy / "dagster_home"))
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    return copy
