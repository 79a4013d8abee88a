"""The Dagster instance under the warehouse directory."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from memo_assets.store.files import write_bytes
from memo_assets.store.layout import dagster_home

PROCESS_TAG = "memo/process"
_EVENT_BATCH = (
    "1000"  # events of a kind, such as those that announce the partitions of a run, are stored together
)
_TEMPLATE = Path(__file__).parent / "dagster.yaml"


def prepare_home() -> Path:
    """Make DAGSTER_HOME and its settings if they are not there; set the variables for this process.

    Settings that are still as an earlier version of the package wrote them are replaced by today's; what a person has
    edited or put there is left alone. A copy of what was written, `dagster.yaml.default`, tells the two apart.

    Returns:
        The folder.
    """
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    settings, default, template = home / "dagster.yaml", home / "dagster.yaml.default", _TEMPLATE.read_bytes()
    found, written = _content(settings), _content(default)
    if found != template and (found is None or found == written):
        write_bytes(settings, template)
        found = template
    if found == template != written:
        write_bytes(default, template)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _EVENT_BATCH)
    return home


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def process_tag() -> dict[str, str]:
    """Run tag that names this process: host, pid and the time it started."""
    return {PROCESS_TAG: _process_name(psutil.Process())}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this machine as failed whose process is gone, and free the pool slots they hold.

    A run killed with -9 cannot say that it ended; without this, the next run would wait for its slots for ever, and what
    it had in hand would count as in progress. Of a run that has not named its process (only GPU-bound steps do, and they
    alone take long) the code server that started it is asked for.

    Args:
        instance: where the runs are recorded.

    Returns:
        Ids of the runs.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        gone = _gone(run)
        if gone is not None:
            instance.report_run_failed(run, f"{gone} is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    _free_slots_of_ended_runs(instance)
    return ended


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """Free the pool slots of runs that are recorded as ended and whose process is gone.

    The daemon marks a run whose process died as failed and frees its slots a while later; if the daemon itself is gone by
    then, nobody does, and every later run would wait for ever.
    """
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        found = storage.get_concurrency_info(pool)
        for run_id in {entry.run_id for entry in (*found.claimed_slots, *found.pending_steps)}:
            run = instance.get_run_by_id(run_id)
            if run is None or (run.is_finished and (PROCESS_TAG not in run.tags or _gone(run))):
                storage.free_concurrency_slots_for_run(run_id)


def _gone(run: dg.DagsterRun) -> str | None:
    """What a run lived in, if that is gone."""
    host, _, rest = run.tags.get(PROCESS_TAG, "").partition(":")
    if not host:
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        return "The code server of this run" if server and not _answers(server) else None
    if host != platform.node():
        return None
    pid = int(rest.partition(":")[0])
    alive = psutil.pid_exists(pid) and _process_name(psutil.Process(pid)) == run.tags[PROCESS_TAG]
    return None if alive else f"The process of this run, {pid} on {host},"


def _answers(server: dict[str, Any]) -> bool:
    client = DagsterGrpcClient(host=server["host"], port=server.get("port"), socket=server.get("socket"))
    try:
        client.ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _process_name(process: psutil.Process) -> str:
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance whose runs the web UI shows."""
    prepare_home()
    with dg.DagsterInstance.get() as instance:
        yield instance
