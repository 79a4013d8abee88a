"""A changed setting, seed or source marks exactly what depends on it, and everybody is told the same."""

import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from memo_assets import graph
from memo_assets.config import Study
from memo_assets.graph import steps
from memo_assets.instance import PROCESS_TAG
from memo_assets.pipeline import RunFailed
from memo_assets.study import load_study
from memo_assets_tests.lineage.ask import command_line, dagsters_own, ours, partitions_of, web_ui
from memo_assets_tests.lineage.cheap import Words, definitions, materialize, run, state_of
from memo_assets_tests.studies import changed, write_study
from memo_assets_tests.test_graph import ADAPTERS_DOWN, SAMPLES_DOWN


def told_by_all(folder: Path, instance: dg.DagsterInstance) -> set[str]:
    """Assets that are stale, after making sure that Dagster, GraphQL, the platform and its command line agree."""
    study = load_study(folder)
    own = dagsters_own(study, instance)
    assert ours(study, instance) == own
    said, _ = web_ui(folder, instance)
    assert said == own
    listed = command_line(folder)
    assert list(listed) == list(steps(study))
    for name, asset in listed.items():
        of = {partition: said for (other, partition), said in own.items() if other == name}
        counts = {state: sum(status == state.upper() for status, _ in of.values()) for state in ("fresh", "stale", "missing")}  # fmt: skip
        assert {state: asset[state] for state in counts} == counts, name
        assert asset["failed"] == 0
        words = " ".join(entry["cause"] for entry in asset["not_fresh"])
        for status, causes in of.values():
            assert all(reason in words for _, _, reason in causes), (name, words)
            assert (status == "STALE") == bool(causes)
    return {name for (name, _), (status, _) in own.items() if status == "STALE"}


CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"lora.rank": 3}, ADAPTERS_DOWN),
    ({"noise.share": 0.2}, SAMPLES_DOWN),
    ({"compute.slurm.partition": "gpu", "compute.pack": 2}, set()),
]


@pytest.mark.parametrize(("changes", "expected"), CHANGES, ids=["lora", "noise", "compute"])
def test_a_changed_field_is_told_the_same_by_all(
    folder: Path, instance: dg.DagsterInstance, changes: dict[str, Any], expected: set[str]
) -> None:
    write_study(folder, _settings(folder, changes))
    assert told_by_all(folder, instance) == expected


def test_another_drawing_of_one_figure_is_that_figure_alone_and_the_report_that_holds_it(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = graph._STEPS["figure_roc"]
    monkeypatch.setitem(
        graph._STEPS, "figure_roc", graph.Step(step.upstream, step.fields, step.algorithm + 1)
    )
    assert told_by_all(folder, instance) == {"figure_roc", "report"}


def test_redoing_the_same_work_leaves_everything_fresh(
    folder: Path, study: Study, instance: dg.DagsterInstance
) -> None:
    words = Words()
    assert materialize(study, words, instance, "raw_dataset", "samples", "base_model", "memorization")
    for name in ("split_masks", "adapters"):
        assert materialize(study, words, instance, name, partitions=("0", "3"))
    assert told_by_all(folder, instance) == set()


def test_a_seed_with_another_result_is_followed_step_by_step(
    folder: Path, study: Study, instance: dg.DagsterInstance
) -> None:
    words = Words({("adapters", "3"): "other", ("logits", "3"): "other"})
    assert materialize(study, words, instance, "adapters", partitions=("3", "3"))
    cause = ("stale", "adapters has a new data version")
    assert state_of(study, instance) == {("logits", "3"): cause}
    assert materialize(study, words, instance, "logits", partitions=("2", "3"))
    cause = ("stale", "logits has a new data version (seed 3)")
    assert state_of(study, instance) == {("shadow_logits", "002-003"): cause}
    assert told_by_all(folder, instance) == {"shadow_logits"}
    made = run(study, words, instance)  # what it makes of the block is the same word as before
    assert made == [("shadow_logits", "002-003")]
    assert state_of(study, instance) == {}


def test_seeds_that_were_never_made_are_missing(folder: Path, instance: dg.DagsterInstance) -> None:
    write_study(folder, _settings(folder, {"shadows.models": 6}))
    missing = {name: asset for name, asset in command_line(folder).items() if asset["missing"]}
    assert {name: asset["missing"] for name, asset in missing.items()} == {
        "split_masks": 2, "adapters": 2, "logits": 2, "shadow_logits": 1
    }  # fmt: skip
    (entry,) = missing["adapters"]["not_fresh"]
    assert entry == {"state": "missing", "cause": "never materialized", "partitions": ["4", "5"]}


def test_failed_seeds_are_shown_as_the_web_ui_shows_them_and_are_redone(
    folder: Path, study: Study, instance: dg.DagsterInstance
) -> None:
    words = Words(failing={("adapters", "1"), ("adapters", "2")})
    assert not materialize(study, words, instance, "adapters", partitions=("0", "3"))
    found = state_of(study, instance)
    assert {part: state for part, (state, _) in found.items()} == {
        ("adapters", "1"): "failed", ("adapters", "2"): "failed"
    }  # fmt: skip
    (cause,) = {cause for _, cause in found.values()}
    (last,) = instance.get_runs(limit=1)
    assert cause == f"run {last.run_id.partition('-')[0]} failed: own/adapters cannot make 1"
    said, failed = web_ui(folder, instance)
    assert failed == {"split_masks": [], "adapters": ["1", "2"], "logits": [], "layer_scores": [], "shadow_logits": []}  # fmt: skip
    assert {status for status, _ in said.values()} == {
        "FRESH"
    }  # they were made before, which staleness is about
    (entry,) = command_line(folder)["adapters"]["not_fresh"]
    assert entry == {"state": "failed", "cause": cause, "partitions": ["1", "2"]}

    with pytest.raises(RunFailed, match="own/adapters: own/adapters cannot make 1"):
        run(study, words, instance)
    words.failing.clear()
    assert run(study, words, instance) == [("adapters", "1"), ("adapters", "2")]
    assert state_of(study, instance) == {}
    assert run(study, words, instance) == []


def test_a_failed_asset_without_partitions_is_redone(
    folder: Path, study: Study, instance: dg.DagsterInstance
) -> None:
    words = Words(failing={("memorization", None)})
    assert not materialize(study, words, instance, "memorization", "label_stability")
    state, cause = state_of(study, instance)["memorization", None]
    assert state == "failed"
    assert cause.endswith("failed: own/memorization cannot make None")
    assert ("label_stability", None) not in state_of(study, instance)  # it needs nothing of it and was made
    words.failing.clear()
    assert ("memorization", None) in run(study, words, instance)
    assert state_of(study, instance) == {}


def test_a_killed_run_is_a_failed_one(folder: Path, study: Study, instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey([study.name, "adapters"])
    job = definitions(study, Words()).resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    tags = {"dagster/asset_partition_range_start": "1", "dagster/asset_partition_range_end": "2"}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    instance.create_run_for_job(
        job,
        asset_selection={key},
        tags={**tags, PROCESS_TAG: f"{platform.node()}:{gone.pid}:0.00"},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert state_of(study, instance) == {}  # it may still be running
    (entry,) = command_line(folder)["adapters"]["not_fresh"]
    assert entry["partitions"] == ["1", "2"]
    assert re.fullmatch(rf"run [0-9a-f]{{8}} failed: .*process of this run, {gone.pid} on .*, is gone\.", entry["cause"])  # fmt: skip
    assert materialize(study, Words(), instance, "adapters", partitions=("0", "3"))  # a later success counts
    assert state_of(study, instance) == {}


def test_all_partitions_are_looked_at(finished: Path) -> None:
    study = load_study(finished)
    assert len(partitions_of(study)) == len(steps(study)) - 5 + 3 * 4 + 1 + 2


def _settings(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """The finished study's settings with others in their place."""
    return changed(yaml.safe_load((folder / "defs.yaml").read_text())["attributes"], changes)
