"""The web server and daemon, in processes of their own and over made-up studies, talked to by the UI's own GraphQL."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memo_assets.config import Study
from memo_assets.store.files import write_json

LOCATION = """
import json
from pathlib import Path
from memo_assets.config import Study
from memo_assets.definitions import build_defs

stored = json.loads(Path(__file__).with_name("studies.json").read_text())
defs = build_defs([Study.model_validate_json(json.dumps(study)) for study in stored])
"""
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
AGAIN = """
mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
END = """
mutation($run: String!) { terminateRun(runId: $run) {
  __typename ... on TerminateRunFailure { message } } }
"""
RELOAD = """
mutation($location: String!) { reloadRepositoryLocation(repositoryLocationName: $location) {
  __typename ... on WorkspaceLocationEntry { id } ... on RepositoryLocationNotFound { message } } }
"""
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class Web:
    """The web server and daemon over some studies.

    Args:
        folder: for the code location and the log.
        studies: the studies; what is launched is of the first.
    """

    def __init__(self, folder: Path, *studies: Study) -> None:
        self.study = studies[0]
        self._folder = folder
        self._write(studies)
        (folder / "location.py").write_text(LOCATION)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/graphql"
        command = ["-m", "dagster", "dev", "-f", "location.py", "-h", "127.0.0.1", "-p", str(port)]
        self.log = (folder / "web.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *command],
            cwd=folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.wait_until(lambda: bool(self.ask("{ version }", patient=True)), 180)

    def ask(self, query: str, *, patient: bool = False, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except OSError:
            if patient:
                return {}
            raise
        assert "errors" not in found, found
        return found["data"]

    def change(self, *studies: Study) -> None:
        """Edit the study files, and reload the code location."""
        self.study = studies[0]
        self._write(studies)
        found = self.ask(RELOAD, location="location.py")["reloadRepositoryLocation"]
        assert found["__typename"] == "WorkspaceLocationEntry", found

    def launch(self, name: str, last: int, **tags: str) -> str:
        """Materialize the partitions 0 to last of an asset."""
        tags |= {RANGE[0]: "0", RANGE[1]: str(last)}
        return self._launch("__ASSET_JOB", tags, assetSelection=[{"path": [self.study.name, name]}])

    def launch_job(self, name: str) -> str:
        """Launch a job from the launchpad."""
        return self._launch(name, {})

    def _launch(self, job: str, tags: dict[str, str], **selection: Any) -> str:
        selector = {
            "repositoryLocationName": "location.py",
            "repositoryName": "__repository__",
            "pipelineName": job,
            **selection,
        }
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "mode": "default", "executionMetadata": metadata}
        return self._launched(self.ask(LAUNCH, p=params)["launchRun"])

    def again(self, run: str) -> str:
        """Re-execute a run from its failure."""
        params = {"parentRunId": run, "strategy": "FROM_FAILURE"}
        return self._launched(self.ask(AGAIN, p=params)["launchRunReexecution"])

    def _launched(self, answer: dict[str, Any]) -> str:
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def end(self, run: str) -> None:
        answer = self.ask(END, run=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def status(self, run: str) -> str:
        query = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
        return self.ask(query, run=run)["runOrError"]["status"]

    def _write(self, studies: Sequence[Study]) -> None:
        stored = [study.model_dump(mode="json") for study in studies]
        write_json(self._folder / "studies.json", stored)

    def wait_for(self, run: str, status: str, seconds: float = 360) -> None:
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        self.wait_until(lambda: self.status(run) in (status, *ended), seconds)
        assert self.status(run) == status

    def wait_until(self, condition: Callable[[], bool], seconds: float, *, every: float = 0.3) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, Path(self.log.name).read_text()[-3000:]
            time.sleep(every)

    @property
    def pid(self) -> int:
        """Of the process whose children are server, daemon and runs."""
        return self._process.pid

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # killed already
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.log.close()
