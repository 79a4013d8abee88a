"""The event log that keeps its databases open: what it stores is what Dagster's own class reads."""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from memo_assets import event_log
from memo_assets.event_log import KeptOpenEventLog
from memo_assets.instance import open_instance

PARTITIONS = dg.StaticPartitionsDefinition([str(seed) for seed in range(40)])


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def part() -> None: ...


def partition_of(entry: dg.EventLogEntry) -> str:
    return cast("Any", entry.get_dagster_event().event_specific_data).partition


@pytest.fixture
def instance(warehouse: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance() as opened:
        yield opened


def materialize(instance: dg.DagsterInstance) -> str:
    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "39"}
    result = dg.materialize([part], instance=instance, tags=tags)
    assert result.success
    return result.run_id


def as_dagster_has_it(warehouse: Path) -> SqliteEventLogStorage:
    return SqliteEventLogStorage(str(warehouse / "dagster_home" / "history" / "runs"))


def test_a_home_records_with_it_and_dagsters_own_class_reads_the_same(
    instance: dg.DagsterInstance, warehouse: Path
) -> None:
    assert isinstance(instance.event_log_storage, KeptOpenEventLog)
    run = materialize(instance)
    plain = as_dagster_has_it(warehouse)
    expected = [entry.to_json() for entry in plain.get_logs_for_run(run)]
    assert [entry.to_json() for entry in instance.event_log_storage.get_logs_for_run(run)] == expected
    kinds = [entry.dagster_event_type for entry in plain.get_logs_for_run(run)]
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) == 40
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 40
    assert plain.get_materialized_partitions(dg.AssetKey("part")) == set(PARTITIONS.get_partition_keys())


def test_a_history_that_dagsters_own_class_began_goes_on(warehouse: Path) -> None:
    home = warehouse / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")  # a person's own settings
    with open_instance() as instance:
        assert not isinstance(instance.event_log_storage, KeptOpenEventLog)
        before = materialize(instance)
    (home / "dagster.yaml").unlink()
    with open_instance() as instance:
        assert isinstance(instance.event_log_storage, KeptOpenEventLog)
        after = materialize(instance)
        assert [run.run_id for run in instance.get_runs()] == [after, before]
        assert len(instance.event_log_storage.get_logs_for_run(before)) > 80
        found = instance.get_latest_materialization_event(dg.AssetKey("part"))
        assert found is not None
        assert found.run_id == after


def test_a_batch_of_which_one_event_fails_is_stored_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, failures = instance.event_log_storage, []
    store = SqliteEventLogStorage.store_event

    def failing(self: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        kind = event.dagster_event_type
        planned = kind == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        if planned and not failures and partition_of(event) == "25":
            failures.append("25")
            raise OSError("disk full for a moment")
        store(self, event)

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", failing)
    run = materialize(instance)
    planned = [
        partition_of(entry)
        for entry in storage.get_logs_for_run(run)
        if entry.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ]
    assert failures == ["25"]
    assert sorted(planned, key=int) == PARTITIONS.get_partition_keys()


def test_a_database_that_is_replaced_or_wiped_is_opened_anew(
    instance: dg.DagsterInstance, warehouse: Path, tmp_path: Path
) -> None:
    history = warehouse / "dagster_home" / "history" / "runs"
    first = materialize(instance)
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        if (history / name).exists():
            shutil.copy(history / name, tmp_path / name)
    materialize(instance)
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (history / name).unlink(missing_ok=True)
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, history / name)
    found = instance.get_latest_materialization_event(dg.AssetKey("part"))
    assert found is not None
    assert found.run_id == first
    instance.event_log_storage.wipe()
    assert instance.get_latest_materialization_event(dg.AssetKey("part")) is None
    again = materialize(instance)
    assert len(as_dagster_has_it(warehouse).get_logs_for_run(again)) > 80


def _schema(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        mode = connection.execute("PRAGMA journal_mode").fetchone()
    return [*rows, *versions, mode]


def test_databases_of_later_runs_are_those_that_dagster_would_have_made(
    instance: dg.DagsterInstance, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    by_dagster = SqliteEventLogStorage._initdb

    def counted(self: SqliteEventLogStorage, engine: Any, **given: Any) -> None:
        made.append(str(engine.url.database))
        by_dagster(self, engine, **given)

    monkeypatch.setattr(SqliteEventLogStorage, "_initdb", counted)
    runs = [materialize(instance) for _ in range(3)]
    history = warehouse / "dagster_home" / "history" / "runs"
    assert [path for path in made if "index" not in path] == [str(history / f"{runs[0]}.db")]
    plain = SqliteEventLogStorage(str(warehouse / "plain"))
    plain.get_logs_for_run("one")
    expected = _schema(warehouse / "plain" / "one.db")
    for run in runs:
        assert _schema(history / f"{run}.db") == expected
        assert len(as_dagster_has_it(warehouse).get_logs_for_run(run)) > 80
    assert not list(history.glob(".*"))


def test_a_database_that_another_process_makes_at_the_same_time_is_left_to_dagster(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(instance)

    def beaten(self: Path, target: Path) -> None:
        raise FileExistsError(str(self))

    monkeypatch.setattr(Path, "hardlink_to", beaten)
    run = materialize(instance)
    assert len(instance.event_log_storage.get_logs_for_run(run)) > 80


def test_a_commit_does_not_wait_for_the_disk_and_a_log_keeps_the_databases_whole(
    instance: dg.DagsterInstance,
) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, KeptOpenEventLog)
    runs = [materialize(instance) for _ in range(2)]  # made by Dagster, and as a copy
    for shard in ("index", *runs):
        with storage._connect(shard) as connection:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("synchronous", "journal_mode")
            ]
        assert found == [1, "wal"]  # 1: NORMAL


def test_few_databases_stay_open(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "_MOST_ENGINES", 3)
    storage = instance.event_log_storage
    assert isinstance(storage, KeptOpenEventLog)
    for _ in range(6):
        storage.get_logs_for_run(str(uuid.uuid4()))
        with storage.index_connection():
            pass
    assert len(storage._engines) == 3
    assert "index" in storage._engines
