"""The web server and daemon with runs on Slurm: cancelled in the UI, killed, executed again. By the UI's own GraphQL."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import PROCESS_TAG, open_instance
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout
from memo_assets_tests.compute.small_items import small_study
from memo_assets_tests.slurm.conftest import LONG, Lab
from memo_assets_tests.web import Web

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


@pytest.fixture
def web(lab: Lab, tmp_path: Path) -> Iterator[Web]:
    """The UI over a study whose samples and split masks are there; seeds train one after another."""
    study = small_study(
        {
            "training.epochs": LONG // 5,
            "training.checkpoints": [0, LONG // 5],
            "compute.pack": 1,
            "compute.slurm": {"gres": "gpu:1", "memory": "2G", "parallel": 1},
        }
    )
    with open_instance() as instance:
        for names, seeds in (({"raw_dataset", "samples"}, False), ({"split_masks"}, True)):
            keys = [dg.AssetKey([study.name, name]) for name in names]
            job = build_defs([study]).resolve_implicit_job_def_def_for_assets(keys)
            assert job is not None
            tags = (
                {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "3"}
                if seeds
                else {}
            )
            assert job.execute_in_process(instance=instance, asset_selection=keys, tags=tags).success
    made = Web(tmp_path, study)
    yield made
    made.close()


def recorded(study: Study) -> dict[int, list[dict[str, Any]]]:
    """Metadata of all materializations of every seed's adapters."""
    found: dict[int, list[dict[str, Any]]] = {seed: [] for seed in study.seeds}
    with open_instance() as instance:
        records = instance.fetch_materializations(dg.AssetKey([study.name, "adapters"]), limit=100).records
    for record in records:
        materialization = record.asset_materialization
        assert materialization is not None
        found[int(str(materialization.partition))].append(
            {name: value.value for name, value in materialization.metadata.items()}
            | {"tags": materialization.tags or {}, "run": record.run_id}
        )
    return found


def texts(run: str) -> list[str]:
    """What a run has logged."""
    with open_instance() as instance:
        return [entry.user_message for entry in instance.all_logs(run)]


def tasks_sent(study: Study) -> dict[int, str]:
    """Slurm's task of every seed, by the ledger."""
    folder = Layout.of(study.name).work / "ledger" / "adapters"
    entries = {seed: read_json(folder / f"seed={seed}.json") for seed in study.seeds}
    return {seed: f"{entry['job']}_{entry['index']}" for seed, entry in entries.items()}


def test_a_run_cancelled_in_the_ui_and_executed_again_does_only_what_is_missing(lab: Lab, web: Web) -> None:
    run = web.launch("adapters", 3)
    lab.wait_until(lambda: bool(recorded(web.study)[0]), 240)
    web.end(run)
    web.wait_for(run, "CANCELED")
    lab.wait_until(lambda: not lab.living(), 40)
    before = recorded(web.study)
    done = [seed for seed in before if before[seed]]
    assert 0 in done
    assert len(done) < 4
    sent = tasks_sent(web.study)

    second = web.again(run)
    web.wait_for(second, "SUCCESS")
    after, now = recorded(web.study), tasks_sent(web.study)
    assert {seed: len(events) for seed, events in after.items()} == dict.fromkeys(range(4), 1)
    assert {seed: after[seed][0]["run"] for seed in range(4)} == {
        seed: run if seed in done else second for seed in range(4)
    }
    assert all((now[seed] == sent[seed]) == (seed in done) for seed in range(4))
    (first,) = after[0]
    assert first["slurm_job"] == sent[0]
    assert first["node"]
    assert first["gpu_seconds"] == first["seconds"] > 0
    assert first["peak_memory_mb"] > 10
    assert {"dagster/data_version", "dagster/code_version", "dagster/input_data_version/tiny/samples"} <= set(
        first["tags"]
    )


def retry_of(web: Web, run: str) -> str:
    """The run that the daemon starts in the place of one that was lost."""
    found: list[str] = []

    def is_there() -> bool:
        with open_instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run}))
        found.extend(retry.run_id for retry in runs)
        return bool(found)

    web.wait_until(is_there, 240)
    return found[0]


def test_a_killed_run_goes_on_by_itself_with_the_tasks_it_had_sent(lab: Lab, web: Web) -> None:
    run = web.launch("adapters", 3)
    lab.wait_until(lambda: bool(recorded(web.study)[0]), 240)
    with open_instance() as instance:
        found = instance.get_run_by_id(run)
    assert found is not None
    os.kill(int(found.tags[PROCESS_TAG].split(":")[1]), signal.SIGKILL)
    sent = tasks_sent(web.study)
    assert sent[3] in lab.living()
    lab.cluster.call("scontrol", "hold", sent[3])  # the platform's restart may take longer than the tasks
    web.wait_for(run, "FAILURE")  # the code server has seen that the process is gone
    second = retry_of(web, run)
    lab.wait_until(lambda: any("watched on" in text for text in texts(second)), 240)
    lab.cluster.call("scontrol", "release", sent[3])
    web.wait_for(second, "SUCCESS")
    after = recorded(web.study)
    assert {seed: len(events) for seed, events in after.items()} == dict.fromkeys(range(4), 1)
    assert tasks_sent(web.study) == sent
    assert {after[seed][0]["slurm_job"] for seed in range(4)} == set(sent.values())
    log = texts(second)
    assert f"adapters, seed 3: still in Slurm job {sent[3]}, watched on" in log
    assert any(text.startswith("log of adapters, seed 3:") for text in log)
    assert any(f"running: {sent[3]} (adapters, seed 3)" in text for text in log)
    files = (lab.warehouse / "dagster_home" / "storage" / second / "compute_logs").glob("*.out")
    assert "[adapters, seed 3] seed 3: epoch " in "".join(file.read_text() for file in files)


def test_sigterm_to_the_run_cancels_its_tasks(lab: Lab, web: Web) -> None:
    run = web.launch("adapters", 3, **{"dagster/max_retries": "0"})
    lab.wait_until(lambda: len(lab.living()) == 4, 240)
    with open_instance() as instance:
        found = instance.get_run_by_id(run)
    assert found is not None
    os.kill(int(found.tags[PROCESS_TAG].split(":")[1]), signal.SIGTERM)
    lab.wait_until(lambda: not lab.living(), 60)
    web.wait_for(run, "FAILURE")  # Dagster's name for a run that somebody else than it ended
