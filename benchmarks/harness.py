"""What all benchmarks of the table share: timing in turn, peak memory, the machine, one form of results.

What belongs here: how something is measured and written down. What does not: what is measured (one module a subject), and
the page of all results (`page`).
"""

import argparse
import ctypes
import gc
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from memo_assets.store.files import write_json

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "duckdb", "transformers", "peft", "dagster")


@dataclass(frozen=True)
class Row:
    """One line of the table of results.

    Attributes:
        job: kernel or job.
        size: of what it was given.
        compare_with: what was timed beside it.
        ratio: what `target` speaks of; by `in_turn` time of the other over own time, so that more is faster.
        target: what is to be reached; None where the figure is told for its own sake.
        at_least: whether the target is a least ratio, or else a largest one.
        seconds: median seconds of each thing that was timed, by name.
        spread: smallest and largest ratio over the rounds.
        rounds: how often each was timed.
        note: what a reader must know, such as that a time was extrapolated, and from what.
    """

    job: str
    size: str
    compare_with: str
    ratio: float
    target: float | None = None
    at_least: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)
    spread: tuple[float, float] | None = None
    rounds: int = 1
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def in_turn(things: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of several things, each once a round, so that whatever else the machine does falls on all of them.

    Args:
        things: what to time, by name; each is called once before, untimed.
        rounds: how often.
    """
    for thing in things.values():
        thing()
    taken: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            began = time.perf_counter()
            thing()
            taken[name].append(time.perf_counter() - began)
    return taken


def compared(
    taken: Mapping[str, Sequence[float]],
    own: str,
    other: str,
    *,
    faster: bool = True,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Ratio, spread, seconds and rounds of a `Row`, from times taken in turn.

    Args:
        taken: seconds by name and round.
        own: name of what is ours.
        other: name of what it is compared with.
        faster: the ratio says how many times faster own is; else how many times the other's time it takes.
        scale: by which the other's time is multiplied, where only a part of it was timed.
    """
    ratios = [
        scale * theirs / ours if faster else ours / (scale * theirs)
        for ours, theirs in zip(taken[own], taken[other], strict=True)
    ]
    medians = {own: statistics.median(taken[own]), other: scale * statistics.median(taken[other])}
    ratio = medians[other] / medians[own] if faster else medians[own] / medians[other]
    return {
        "ratio": ratio,
        "spread": (min(ratios), max(ratios)),
        "seconds": medians,
        "rounds": len(ratios),
    }


def peak_megabytes(function: Callable[[], object]) -> float:
    """Memory that a call takes at its peak above what the process holds before, in MB (10^6 bytes).

    The kernel's own high-water mark of this process, reset before the call (Linux), after the C library gave back what it
    kept of freed memory. Call the function once before: what libraries allocate once and keep is not what the call needs.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    function()
    return (_status("VmHWM") - before) / 1e6


def machine() -> dict[str, Any]:
    """The machine and the libraries, as they are written beside every result."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "threads": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_DYNAMIC", "MKL_DYNAMIC")},
        "load": round(os.getloadavg()[0], 2),
    }


def write(name: str, rows: Sequence[Row]) -> None:
    """Print the rows and write them to `benchmarks/results/NAME.json`.

    Args:
        name: of the subject.
        rows: its lines of the table.
    """
    for row in rows:
        said = {None: "", True: ", reached", False: ", NOT reached"}[row.reached]
        aim = "" if row.target is None else f" (target {'>=' if row.at_least else '<='} {row.target:g}{said})"
        print(
            f"{row.job}, {row.size}, against {row.compare_with}: {row.ratio:.3g}{aim} {row.note}", flush=True
        )
    write_result(name, rows=[{**asdict(row), "reached": row.reached} for row in rows])


def write_result(name: str, **content: Any) -> None:
    """Write what was measured to `benchmarks/results/NAME.json`, with machine and commit.

    Args:
        name: of the subject.
        content: values that JSON knows, by name.
    """
    write_json(RESULTS / f"{name}.json", {"machine": machine(), "commit": _commit(), **content})


def rounds_asked(documentation: str | None, default: int) -> int:
    """How many rounds the command line asks for."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=default, help=f"each thing is timed so often ({default})"
    )
    return parser.parse_args().rounds


def _status(field_name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(field_name)


def _commit() -> str:
    """The commit that was measured, marked where files were changed since."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=8"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"
