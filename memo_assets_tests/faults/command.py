"""The command `memo` as a process of its own, which can be killed, on small real studies.

What belongs here: studies, environment, starting, ending. What does not: what is compared afterwards (`sameness`), what is
broken (the tests).
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from memo_assets.compute.threads import thread_variables
from memo_assets_tests.studies import CITIES, DIGITS, changed, write_study

LONG = os.environ.get("MEMO_FAULTS") == "long"
"""Whether this is the long form: more kills, more kinds of damage."""
long_form = pytest.mark.skipif(not LONG, reason="in the long form alone: make faults")

_SMALL = {
    "scores.psmi_directions": 50,
    "scores.smi_directions": 2,
    "compute.threads": 1,
    "compute.workers": 1,
}


def small(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A study of few directions that runs on one core; dotted fields with __ for the point."""
    return changed(base, {**_SMALL, **{name.replace("__", "."): value for name, value in changes.items()}})


# A seed that is trained again without its neighbours differs in the last bits; so each trains alone, but for those whose
# kills are to fall on packs.
STUDIES = {
    "tiny": small(DIGITS, data__items=200, shadows__models=6, shadows__block=3, compute__pack=1),
    "packed": small(
        DIGITS, name="packed", data__items=200, shadows__models=8, shadows__block=4, compute__pack=4
    ),
    "towns": small(CITIES, data__items=60, shadows__models=4, shadows__block=2, compute__pack=1),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one error message of a command that failed without a traceback."""
        said = f"{self.out}\n{self.err}"
        assert self.code == 1, said
        assert "Traceback" not in said, said
        assert self.err.startswith("error: "), said
        return self.err.removeprefix("error: ").strip()


@dataclass(frozen=True)
class Place:
    """A warehouse directory and the study that is run in it.

    Attributes:
        warehouse: the directory.
        study: path of the study's file.
        environment: variables beside the warehouse's.
    """

    warehouse: Path
    study: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        """Files of the study."""
        return self.warehouse / "artifacts" / self.study.parent.name

    def start(self, *command: str, **settings: Any) -> subprocess.Popen[str]:
        """`memo` with a command line, in a process group of its own."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DAGSTER_HOME", "MEMO_EXECUTOR", "TZ", "LC_ALL", "LANG")
        }
        environment |= thread_variables(1)
        environment |= {
            "MEMO_WAREHOUSE": str(self.warehouse),
            "BROWSER_PATH": str(self.warehouse / "none"),
            "NO_COLOR": "1",
            **self.environment,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "memo_assets.cli", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **settings,
        )

    def memo(self, *command: str, **settings: Any) -> Ended:
        """Run a command to its end."""
        process = self.start(*command, **settings)
        out, err = process.communicate(timeout=500)
        return Ended(process.returncode, out, err)

    def demo(self) -> Ended:
        """`memo demo` of the study."""
        return self.memo("demo", str(self.study))

    def well(self) -> Ended:
        """`memo demo` of the study, which must end well."""
        ended = self.demo()
        assert ended.code == 0, f"{ended.out}\n{ended.err}"
        return ended


def place(folder: Path, name: str) -> Place:
    """An empty warehouse in a folder, and one of the small studies."""
    return Place(folder / "warehouse", write_study(folder / "studies" / name, STUDIES[name]))


def workers_of(parent: int) -> list[psutil.Process]:
    """Worker processes that a process started and that still run."""
    try:
        children = psutil.Process(parent).children(recursive=True)
    except psutil.Error:
        return []
    return [child for child in children if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "memo_assets.compute.worker" in process.cmdline()
    except psutil.Error:
        return False
