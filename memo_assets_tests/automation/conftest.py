"""A study of a few small models, made once, and its nights: ticks of the sensor at any time of a made-up calendar."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests

from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import partition_keys
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.studies import DIGITS, study

Asked = dict[str, set[str | None]]
NIGHT = datetime(2031, 5, 1, 2, tzinfo=UTC)
RANGE: tuple[str, str] = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def toy(**changes: Any) -> Study:
    """Six small models, two of them audited, in blocks of three; nightly at two. Each trains alone, so that a seed that is
    redone is the same whatever is redone with it. Blocks by name, or with their fields.
    """
    base = {
        "name": "toy",
        "data.items": 303,
        "training.batch_size": 10,
        "shadows": {"models": 6, "block": 3, "audited": [0, 1]},
        "scores.psmi_directions": 20,
        "scores.smi_directions": 2,
        "compute": {"pack": 1, "workers": 2, "device": "cpu"},
        "nightly": {},
    }
    return study(DIGITS, {**base, **changes})


@dataclass
class Sensor:
    """The conditions of a study, evaluated tick by tick as the sensor does, with the cursor kept in between.

    backfills: the assets of every backfill that the latest tick asked for; runs: those of its single runs.
    """

    study: Study
    instance: dg.DagsterInstance
    cursor: AssetDaemonCursor | None = None
    backfills: list[Asked] = field(default_factory=list)
    runs: list[set[str]] = field(default_factory=list)
    _loaded: tuple[Study, dg.Definitions] | None = None

    def tick(self, at: datetime) -> Asked:
        """What one tick asks for, by asset."""
        definitions = self._location()
        result = dg.evaluate_automation_conditions(
            definitions, self.instance, evaluation_time=at, cursor=self.cursor
        )
        self.cursor = result.cursor
        requested = [subset for subset in result._requested_subsets if not subset.is_empty]
        requests = build_run_requests(requested, definitions.resolve_asset_graph(), {}, emit_backfills=True)
        self.backfills, self.runs = [], []
        for request in requests:
            if request.asset_graph_subset is None:
                self.runs.append({key.path[-1] for key in request.asset_selection or []})
                continue
            self.backfills.append(parts(request.asset_graph_subset))
        names = [name for name in steps(self.study) if result.get_num_requested(self._key(name))]
        return {name: set(result.get_requested_partitions(self._key(name))) for name in names}

    def evening(self, night: int = 0) -> Asked:
        """A tick by day, before a night."""
        return self.tick(NIGHT + timedelta(days=night, hours=-3))

    def night(self, night: int = 0) -> Asked:
        """The first tick after two."""
        return self.tick(NIGHT + timedelta(days=night, seconds=11))

    def later(self, minutes: float, night: int = 0) -> Asked:
        """A tick some minutes after two."""
        return self.tick(NIGHT + timedelta(days=night, minutes=minutes))

    def _key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.study.name, name])

    def _location(self) -> dg.Definitions:
        """The code location, loaded again where the study has changed."""
        if self._loaded is None or self._loaded[0] is not self.study:
            self._loaded = (self.study, build_defs([self.study]))
        return self._loaded[1]


def parts(subset: AssetGraphSubset) -> Asked:
    """What a backfill is to make, by asset."""
    found: Asked = {key.path[-1]: {None} for key in subset.non_partitioned_asset_keys}
    for key, part in subset.partitions_subsets_by_asset_key.items():
        found[key.path[-1]] = set(part.get_partition_keys())
    return found


def run(
    study: Study,
    instance: dg.DagsterInstance,
    executor: LocalExecutor,
    names: Sequence[str],
    partitions: Sequence[str] = (),
) -> bool:
    """One run of some assets, for a gapless range of partitions; whether it went well."""
    keys = [dg.AssetKey([study.name, name]) for name in names]
    job = build_defs([study], {"executor": executor}).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    tags: dict[str, str] = {}
    if partitions:
        tags = dict(zip(RANGE, (partitions[0], partitions[-1]), strict=True))
    return job.execute_in_process(
        instance=instance, asset_selection=keys, tags=tags, raise_on_error=False
    ).success


def carry_out(
    study: Study, instance: dg.DagsterInstance, executor: LocalExecutor, asked: Mapping[str, set[str | None]]
) -> None:
    """Run what a tick asked for, as a backfill would: upstream first, gapless ranges, what has no partitions together."""
    for partitioned, group in groupby(asked, key=lambda name: asked[name] != {None}):
        names = list(group)
        if not partitioned:
            assert run(study, instance, executor, names)
            continue
        for name in names:
            keys = partition_keys(study, name)
            for wanted, part in groupby(keys, key=lambda key, name=name: key in asked[name]):
                if wanted:
                    assert run(study, instance, executor, [name], [str(key) for key in part])


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    """One pool of workers for all tests: they import torch once."""
    with closing(LocalExecutor()) as pool:
        yield pool


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Path:
    """A warehouse in which the study is fresh."""
    with pytest.MonkeyPatch.context() as patch:
        warehouse = tmp_path_factory.mktemp("made")
        patch.setenv("MEMO_WAREHOUSE", str(warehouse))
        patch.setenv("DAGSTER_HOME", str(warehouse / "dagster_home"))
        patch.setenv("BROWSER_PATH", str(warehouse / "none"))
        watcher = Recorder()
        definitions = build_defs([toy()], {"observer": watcher, "executor": executor})
        with open_instance() as instance:
            assert bring_up_to_date(toy(), definitions, instance, watcher)
    return warehouse


@pytest.fixture
def instance(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A copy of that warehouse to be changed at will, and its record."""
    copy = tmp_path / "warehouse"
    shutil.copytree(made, copy)
    monkeypatch.setenv("MEMO_WAREHOUSE", str(copy))
    monkeypatch.setenv("DAGSTER_HOME", str(copy / "dagster_home"))
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    with open_instance() as opened:
        yield opened
