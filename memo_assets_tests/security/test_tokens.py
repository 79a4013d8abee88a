"""The hub's token is in nothing that the platform prints or keeps."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from memo_assets.compute.items import ItemResult
from memo_assets.compute.slurm.script import array_script, probe_script
from memo_assets.config import Slurm
from memo_assets.store.files import read_json, write_json
from memo_assets_tests.compute.small_items import item
from memo_assets_tests.security.conftest import TOKEN, TOKEN_VARIABLES, Ran, open_process
from memo_assets_tests.studies import TABLE, changed, study, write_study

GIVEN = dict.fromkeys(TOKEN_VARIABLES, TOKEN)


class _Refuses(BaseHTTPRequestHandler):
    """A hub that lets nobody in, and remembers with which token it was asked."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"])
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    _Refuses.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def holding(folder: Path) -> list[str]:
    """Files that hold the token, as text or in a database."""
    return [path.name for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_run_keeps_it_nowhere(ran: Ran) -> None:
    assert TOKEN not in ran.said
    kept = {path.name for path in ran.warehouse.rglob("*")}
    assert {"item.json", "result.json", "log.txt", "seed=0.json", "runs.db"} <= kept
    assert holding(ran.warehouse) == []
    (ran.warehouse / "kept.txt").write_text(f"token={TOKEN}")  # the search would find it
    assert holding(ran.warehouse) == ["kept.txt"]
    (ran.warehouse / "kept.txt").unlink()


def test_a_fetch_that_fails_does_not_tell_it(tmp_path: Path, warehouse: Path, hub: str) -> None:
    path = write_study(tmp_path / "own", changed(TABLE, {"model.name": "lab/tiny"}))
    (path.parent / "rows.csv").touch()
    environment = {**GIVEN, "HF_HOME": str(tmp_path / "hub"), "HF_ENDPOINT": hub, "HF_DEBUG": "1"}
    run = open_process("-m", "memo_assets.cli", "fetch", str(path), environment=environment)
    assert run.returncode == 1
    assert "the hub refuses access to model lab/tiny (HTTP 403)" in run.stderr
    assert f"Bearer {TOKEN}" in _Refuses.asked
    assert TOKEN not in run.stdout + run.stderr
    assert holding(tmp_path) == []


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_worker_that_cannot_load_its_base_model_does_not_tell_it(
    tmp_path: Path, warehouse: Path, hub: str, offline: str
) -> None:
    own = study(TABLE, {"model.name": "lab/tiny", "compute.device": "cpu"})
    given = item(warehouse, own, "base_model", [])
    write_json(given.folder / "item.json", given.model_dump(mode="json"))
    environment = {
        **GIVEN, "HF_HOME": str(tmp_path / "hub"), "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": offline,
        "TRANSFORMERS_VERBOSITY": "debug",
    }  # fmt: skip
    path = str(given.folder / "item.json")
    run = open_process("-m", "memo_assets.compute.worker", path, environment=environment)
    assert run.returncode == 1, run.stderr
    assert TOKEN not in run.stdout + run.stderr
    result = ItemResult.model_validate(read_json(given.folder / "result.json"))
    assert result.error is not None
    assert "lab/tiny" in result.error
    assert (f"Bearer {TOKEN}" in _Refuses.asked) == (offline == "0")
    assert holding(tmp_path) == []


def test_a_batch_script_names_no_variable_of_the_submitter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TOKEN_VARIABLES:
        monkeypatch.setenv(name, TOKEN)
    settings = Slurm(partition="p", environment={"HF_HOME": "/shared"})
    scripts = [
        array_script(settings, tmp_path, name="x", tasks=2, threads=1),
        probe_script(settings, tmp_path, name="x"),
    ]
    for script in scripts:
        assert "export HF_HOME=/shared\n" in script
        assert TOKEN not in script
        assert not any(name in script for name in TOKEN_VARIABLES)


def test_a_work_item_holds_settings_and_no_environment(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    given = item(warehouse, study(TABLE), "base_model", [])
    assert TOKEN not in json.dumps(given.model_dump(mode="json"))
