"""A small study run by the command `memo demo` as a careless user would: an open umask, and a token in the environment."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from memo_assets_tests.studies import DIGITS, changed, write_study

TOKEN = "hf_memoTestToken0123456789abcdefghij"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Ran:
    """What a run left.

    Attributes:
        warehouse: the folder.
        said: what it printed.
    """

    warehouse: Path
    said: str


def open_process(
    *arguments: str, umask: int = 0, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """A Python process started from a shell with an open umask."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        env={**os.environ, **(environment or {})},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All assets of a study of 90 digits, from raw data to report."""
    folder = tmp_path_factory.mktemp("ran")
    small = {
        "scores": {"psmi_directions": 5, "smi_directions": 3},
        "compute": {"device": "cpu", "workers": 1},
    }
    study = write_study(folder / "tiny", changed(DIGITS, small))
    environment = {
        "MEMO_WAREHOUSE": str(folder / "warehouse"),
        "DAGSTER_HOME": "",
        "MEMO_UMASK": "",
        "BROWSER_PATH": str(folder / "none"),  # PNG pictures are not what this is about
        **dict.fromkeys(TOKEN_VARIABLES, TOKEN),
    }
    run = open_process("-m", "memo_assets.cli", "demo", str(study), environment=environment)
    assert run.returncode == 0, run.stderr
    return Ran(folder / "warehouse", run.stdout + run.stderr)
