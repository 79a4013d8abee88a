"""Dagster's home: its settings, and runs that nobody is left of."""

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.tags import GRPC_INFO_TAG

from memo_assets import instance as module
from memo_assets.instance import PROCESS_TAG, end_dead_runs, open_instance, prepare_home, process_tag

STARTED = dg.DagsterRunStatus.STARTED


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def work() -> None:
    """Do nothing."""
    nothing()


def test_dagster_reads_the_settings_as_they_are_meant(warehouse: Path) -> None:
    with open_instance() as instance:
        pools = instance.get_concurrency_config()
        assert pools.pool_config.default_pool_limit == 1
        assert pools.run_queue_config is not None
        assert pools.run_queue_config.max_concurrent_runs == 10
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds == 300
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 1
        assert not instance.run_retries_retry_on_asset_or_op_failure
        kept = {
            status.value: days
            for status, days in instance.get_tick_retention_settings(
                dg._core.definitions.run_request.InstigatorType.SENSOR
            ).items()
        }
        assert kept == {"STARTED": 60, "SKIPPED": 2, "SUCCESS": 60, "FAILURE": 60}


def test_settings_nobody_has_edited_follow_the_package_and_edited_ones_are_left_alone(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = prepare_home() / "dagster.yaml"
    first = settings.read_text()
    assert yaml.safe_load(first)["telemetry"] == {"enabled": False}
    newer = tmp_path / "newer.yaml"
    newer.write_text(first + "# more\n")
    monkeypatch.setattr(module, "_TEMPLATE", newer)
    prepare_home()
    assert settings.read_text() == newer.read_text()

    settings.write_text("telemetry: {enabled: true}\n")
    newer.write_text(first + "# still more\n")
    prepare_home()
    prepare_home()
    assert settings.read_text() == "telemetry: {enabled: true}\n"


def test_settings_that_a_person_put_there_first_are_left_alone(warehouse: Path) -> None:
    home = warehouse / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    prepare_home()
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: true}\n"


def test_runs_whose_process_or_code_server_is_gone_are_ended(warehouse: Path, tmp_path: Path) -> None:
    server = json.dumps({"host": "localhost", "socket": str(tmp_path / "nobody")})
    mine = process_tag()[PROCESS_TAG]
    host, pid, began = mine.split(":")
    tags = {
        "lives": {PROCESS_TAG: mine, GRPC_INFO_TAG: server},  # it has outlived the server that started it
        "dead": {PROCESS_TAG: f"{host}:{pid}:{float(began) - 1:.2f}"},  # another had this pid
        "elsewhere": {PROCESS_TAG: f"other-{host}:{pid}:{began}", GRPC_INFO_TAG: server},
        "no server": {GRPC_INFO_TAG: server},
        "unknown": {},
    }
    with open_instance() as instance:
        runs = {
            name: instance.create_run_for_job(work, status=STARTED, tags=given).run_id
            for name, given in tags.items()
        }
        assert set(end_dead_runs(instance)) == {runs["dead"], runs["no server"]}
        assert end_dead_runs(instance) == []


def test_slots_of_ended_runs_whose_process_is_gone_are_freed(warehouse: Path) -> None:
    mine = process_tag()[PROCESS_TAG]
    host, pid, began = mine.split(":")
    gone = f"{host}:{pid}:{float(began) - 1:.2f}"
    failed = dg.DagsterRunStatus.FAILURE
    with open_instance() as instance:
        storage = instance.event_log_storage
        for pool, process, status, kept in (
            ("one", gone, failed, False),  # the daemon marked it and was killed before it freed the slot
            ("two", mine, failed, True),  # it still runs here, whatever somebody has marked
            ("three", mine, STARTED, True),
        ):
            run = instance.create_run_for_job(work, status=status, tags={PROCESS_TAG: process})
            storage.set_concurrency_slots(pool, 1)
            assert storage.claim_concurrency_slot(pool, run.run_id, "nothing").is_claimed
            end_dead_runs(instance)
            assert bool(storage.get_concurrency_info(pool).claimed_slots) == kept, pool
