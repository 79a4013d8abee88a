"""Killing, redoing, changing: nothing lost, nothing doubled, and only what changed is stale."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pyarrow as pa
import pytest

from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.worker import PARENT_VARIABLE
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import RunFailed, bring_up_to_date
from memo_assets.status import FAILED, FRESH, MISSING, STALE, study_state
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets.study import load_study
from memo_assets_tests.end_to_end.conftest import Recorder, changed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]
Run = Callable[[Study, dg.DagsterInstance], int]

# Enough steps that a kill finds the training running.
DRIVER = """
import sys
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets_tests.end_to_end.conftest import Recorder

study = Study.model_validate_json(open(sys.argv[1]).read())
watcher = Recorder()
with open_instance() as instance:
    bring_up_to_date(study, build_defs([study], {"observer": watcher}), instance, watcher)
"""


def tiny() -> Study:
    return changed(
        load_study("digits"),
        data={"items": 303},
        training={"epochs": 60, "checkpoints": [0, 1, 2, 5, 10, 20, 40, 60], "batch_size": 10},
        shadows={"models": 6, "block": 3},
        scores={"psmi_directions": 50, "smi_directions": 2},
        compute={"pack": 3},
    )


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "warehouse" / "dagster_home"))
    return tmp_path


@pytest.fixture
def run(executor: LocalExecutor) -> Run:
    def bring(study: Study, instance: dg.DagsterInstance) -> int:
        recorder = Recorder()
        definitions = build_defs([study], {"observer": recorder, "executor": executor})
        return bring_up_to_date(study, definitions, instance, recorder)

    return bring


def materialize(
    study: Study, instance: dg.DagsterInstance, names: list[str], executor: LocalExecutor, *, seeds: bool
) -> None:
    """Materialize assets of a study whether they are stale or not."""
    keys = [dg.AssetKey([study.name, name]) for name in names]
    job = build_defs([study], {"executor": executor}).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    last = str(study.shadows.models - 1)
    tags = (
        {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": last}
        if seeds
        else {}
    )
    assert job.execute_in_process(instance=instance, asset_selection=keys, tags=tags).success


def data_versions(study: Study, instance: dg.DagsterInstance) -> dict[tuple[str, str | None], str]:
    """Data version of every partition of every asset."""
    versions = {}
    for state in study_state(study, build_defs([study]), instance):
        for part in state.partitions:
            record = instance.get_latest_data_version_record(
                dg.AssetKey([study.name, state.name]), partition_key=part.partition
            )
            assert record is not None, (state.name, part)
            assert record.asset_materialization is not None
            versions[state.name, part.partition] = (record.asset_materialization.tags or {})[
                "dagster/data_version"
            ]
    return versions


def states(study: Study, instance: dg.DagsterInstance) -> dict[str, set[str]]:
    return {
        state.name: {part.state for part in state.partitions}
        for state in study_state(study, build_defs([study]), instance)
    }


def test_killed_run_ends_with_the_same_results(fresh: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    study = changed(tiny(), training={"epochs": 600, "checkpoints": [0, 1, 2, 600]})
    settings = fresh / "study.json"
    settings.write_text(study.model_dump_json())
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(settings)])
    layout = Layout.of(study.name)
    deadline = time.monotonic() + 240
    while not list(layout.work.glob("adapters-*/state/*.safetensors")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)
    assert _workers(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _workers(process.pid):
        assert time.monotonic() < deadline, "workers outlive the killed run"
        time.sleep(0.1)
    resumable = list(layout.work.glob("adapters-*/state/*.safetensors"))
    assert resumable, "the training was over before the kill"
    with open_instance() as instance:
        assert run(study, instance) > 0
        killed = data_versions(study, instance)

    monkeypatch.setenv("MEMO_WAREHOUSE", str(fresh / "other"))
    monkeypatch.setenv("DAGSTER_HOME", str(fresh / "other" / "dagster_home"))
    with open_instance() as instance:
        run(study, instance)
        assert data_versions(study, instance) == killed


def test_redoing_the_same_work_leaves_everything_fresh_and_a_changed_field_does_not(
    fresh: Path, run: Run, executor: LocalExecutor
):
    study = tiny()
    study = changed(study, training={"epochs": 2, "checkpoints": [0, 1, 2]})
    with open_instance() as instance:
        run(study, instance)
        before = data_versions(study, instance)
        materialize(study, instance, ["adapters", "logits"], executor, seeds=True)
        assert data_versions(study, instance) == before
        assert run(study, instance) == 0

        faster = changed(study, training={"learning_rate": 0.005})
        found = states(faster, instance)
        assert found["adapters"] == found["logits"] == found["report"] == {STALE}
        assert found["samples"] == found["split_masks"] == {FRESH}
        more = changed(study, shadows={"models": 8})
        found = states(more, instance)
        assert found["adapters"] == {FRESH, MISSING}
        assert found["memorization"] == {STALE}
        assert states(changed(study, compute={"pack": 2, "workers": 1}), instance)["adapters"] == {FRESH}

        Layout.of(study.name).training_log(2).unlink()
        assert states(study, instance)["adapters"] == {FRESH, MISSING}
        assert run(study, instance) >= 1
        assert run(study, instance) == 0


def test_failed_seeds_are_named_and_the_others_kept(fresh: Path, run: Run, executor: LocalExecutor):
    study = changed(tiny(), training={"epochs": 2, "checkpoints": [0, 1, 2]})
    mask = Layout.of(study.name).split_mask(4)
    with open_instance() as instance:
        materialize(study, instance, ["raw_dataset", "samples"], executor, seeds=False)
        materialize(study, instance, ["split_masks"], executor, seeds=True)
        good = mask.read_bytes()
        write_parquet(mask, pa.table({"sample_id": [10_000]}))
        with pytest.raises(RunFailed, match=r"digits/adapters failed for seeds \[3, 4, 5\]") as failure:
            run(study, instance)
        assert f"{mask} is not as digits/split_masks of seed 4 wrote it" in str(failure.value)
        (adapters,) = study_state(study, build_defs([study]), instance, ["adapters"])
        assert [part.state for part in adapters.partitions] == [FRESH] * 3 + [FAILED] * 3
        assert "digits/adapters failed for seeds [3, 4, 5]" in adapters.partitions[3].cause
        mask.write_bytes(good)
        run(study, instance)
        assert run(study, instance) == 0


def _workers(parent: int) -> list[int]:
    """Worker processes that a process started, found by what it left in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(PARENT_VARIABLE) == str(parent):
                found.append(process.pid)
    return found
