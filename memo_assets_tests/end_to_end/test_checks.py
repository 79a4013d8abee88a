"""Asset checks of a whole study: a broken one is stopped before more is built on it."""

from pathlib import Path

import dagster as dg
import pytest

from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import RunFailed, bring_up_to_date
from memo_assets_tests.end_to_end.conftest import Recorder, changed
from memo_assets_tests.end_to_end.test_redo import tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def test_weights_that_training_did_not_change_stop_the_study_until_they_do(
    tmp_path: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "warehouse" / "dagster_home"))
    short = changed(tiny(), training={"epochs": 2, "checkpoints": [0, 1, 2]})
    # A step so small that no float32 notices: a recipe that trains nothing, for hours if need be.
    study, recorder = changed(short, training={"learning_rate": 1e-60}), Recorder()
    definitions = build_defs([study], {"observer": recorder, "executor": executor})
    stopped = r"digits/adapters: check weights_changed failed: weights that are those of step 0: seeds 0, 1, 2, 3, 4 \(6 in all\)"
    with open_instance() as instance:
        with pytest.raises(RunFailed, match=stopped) as failure:
            bring_up_to_date(study, definitions, instance, recorder)
        assert "blocking asset check" not in str(failure.value)  # Dagster's own words say less
        assert recorder.started[-1][:2] == ("digits", "adapters")

        # Everything is fresh, but not sound: nothing is trained again, nothing is built on it.
        before = len(recorder.started)
        with pytest.raises(RunFailed, match=stopped):
            bring_up_to_date(study, definitions, instance, recorder)
        assert len(recorder.started) == before

        # A backfill would go on with a run of its own.
        result = run(study, instance, executor, ["logits"])
        (failed,) = result.get_step_failure_events()
        assert "digits/logits is not run, for checks of what it reads have failed" in str(
            failed.step_failure_data.error
        )
        assert run(short, instance, executor, ["adapters", "logits"]).success


def run(
    study: Study, instance: dg.DagsterInstance, executor: LocalExecutor, names: list[str]
) -> dg.ExecuteInProcessResult:
    """Materialize assets of all split seeds with their checks."""
    keys = [dg.AssetKey([study.name, name]) for name in names]
    job = build_defs([study], {"executor": executor}).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    last = str(study.shadows.models - 1)
    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": last}
    return job.execute_in_process(instance=instance, asset_selection=keys, tags=tags, raise_on_error=False)
