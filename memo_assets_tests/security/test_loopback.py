"""`memo ui` listens on this machine's loopback address alone, and Dagster sends nothing home."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster_shared.telemetry import get_telemetry_enabled_from_dagster_yaml

from memo_assets.instance import open_instance, prepare_home
from memo_assets_tests.command_line import memo


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process and its children listen for the network."""
    family = [process, *process.children(recursive=True)]
    found = set()
    for one in family:
        try:
            connections = one.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        found |= {str(it.laddr.ip) for it in connections if it.status == psutil.CONN_LISTEN}
    return found


@pytest.fixture
def ui(warehouse: Path, tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The web UI and daemon over the built-in studies, and the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "memo_assets.cli", "ui", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 120
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.3)
        yield psutil.Process(process.pid), port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_web_ui_is_for_this_machine_alone(ui: tuple[psutil.Process, int]) -> None:
    process, _ = ui
    assert listening(process) == {"127.0.0.1"}


def test_there_is_no_option_for_another_address() -> None:
    assert memo("ui", "--host", "0.0.0.0").exit_code == 2


def test_telemetry_is_off(warehouse: Path) -> None:
    home = prepare_home()
    with open_instance() as instance:
        assert isinstance(instance, dg.DagsterInstance)
        assert instance.telemetry_enabled is False
    assert get_telemetry_enabled_from_dagster_yaml() is False
    assert not (home / ".telemetry").exists()
