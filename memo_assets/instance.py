"""The Dagster instance under the warehouse directory."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil

from memo_assets.store.layout import dagster_home

PROCESS_TAG = "memo/process"
_TEMPLATE = Path(__file__).parent / "dagster.yaml"


def prepare_home() -> Path:
    """Make DAGSTER_HOME and its settings if they are not there; set the variable for this process.

    Returns:
        The folder.
    """
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(_TEMPLATE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def process_tag() -> dict[str, str]:
    """Run tag that names this process: host, pid and the time it started."""
    return {PROCESS_TAG: _process_name(psutil.Process())}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this machine as failed whose process is gone, and free the pool slots they hold.

    A run killed with -9 cannot say that it ended; without this, the next run would wait for its slots for ever.

    Args:
        instance: where the runs are recorded.

    Returns:
        Ids of the runs.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, rest = run.tags.get(PROCESS_TAG, "").partition(":")
        if host != platform.node():
            continue
        pid = int(rest.partition(":")[0])
        alive = psutil.pid_exists(pid) and _process_name(psutil.Process(pid)) == run.tags[PROCESS_TAG]
        if not alive:
            instance.report_run_failed(run, f"The process of this run, {pid} on {host}, is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def _process_name(process: psutil.Process) -> str:
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance whose runs the web UI shows."""
    prepare_home()
    with dg.DagsterInstance.get() as instance:
        yield instance
