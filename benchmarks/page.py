"""The page of all results, docs/benchmarks.md, from benchmarks/results/*.json; `make bench` runs all of them before.

python -m benchmarks.page [--run]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

SUBJECTS = {
    "sliced": ["sliced"],
    "attacks": ["attacks"],
    "norms": ["norms"],
    "warehouse": ["warehouse"],
    "training": ["training_tiny", "training_smollm2", "forward"],
    "pipeline": ["pipeline"],
}
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from [benchmarks/results](../benchmarks/results); `make bench` measures all of it anew
before. Every ratio is of two things timed in turn in one
run, the median of several rounds; in brackets the smallest and the largest of a round. Above 1 means that many times
faster, where a row does not say otherwise. Where a part of the other side was timed and scaled up, the row says so."""

_CURVES = """## How it grows

Time and memory over one size, the others kept; the exponent is that of the last half of the points. What limits each is
in [scale.md](scale.md).

![Time and memory over size](scaling.png)

"""


def main() -> None:
    """Run every module if asked to, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", action="store_true", help="run all benchmarks of the table first")
    if parser.parse_args().run:
        for module in [*SUBJECTS, "scaling"]:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", f"benchmarks.{module}"], check=True)
            print(f"{module}: {time.perf_counter() - began:.0f} s", flush=True)
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page in Markdown."""
    found = {
        name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for names in SUBJECTS.values()
        for name in names
        if (RESULTS / f"{name}.json").is_file()
    }
    machine = next(iter(found.values()))["machine"]
    libraries = ", ".join(
        f"{name} {machine[name]}" for name in ("torch", "numpy", "duckdb", "transformers", "peft", "dagster")
    )
    lines = [
        _HEAD,
        f"Machine: {machine['processor']}, {machine['cpus']} CPUs, {machine['memory_gb']} GB, no GPU; Python "
        f"{machine['python']}, {libraries}. Load of the machine when each was done, its own included: "
        + ", ".join(f"{name} {content['machine']['load']}" for name, content in found.items())
        + ".",
        "| job | size | compared with | measured | to reach | |",
        "|---|---|---|---|---|---|",
    ]
    table = [_line(row) for content in found.values() for row in content["rows"]]
    missing = [name for names in SUBJECTS.values() for name in names if name not in found]
    tail = f"Not measured yet: {', '.join(missing)}.\n" if missing else ""
    return "\n\n".join([*lines[:2], "\n".join([*lines[2:], *table]), tail + _curves()])


def _line(row: dict[str, Any]) -> str:
    spread = "" if row["spread"] is None else f" ({row['spread'][0]:.3g} to {row['spread'][1]:.3g})"
    aim = "" if row["target"] is None else f"{'at least' if row['at_least'] else 'at most'} {row['target']:g}"
    verdict = {None: "", True: "yes", False: "**no**"}[row["reached"]]
    other = row["compare_with"] + (f"; {row['note']}" if row["note"] else "")
    return f"| {row['job']} | {row['size']} | {other} | {row['ratio']:.3g}{spread} | {aim} | {verdict} |"


def _curves() -> str:
    path = RESULTS / "scaling.json"
    if not path.is_file():
        return ""
    curves = json.loads(path.read_text(encoding="utf-8"))["curves"]
    lines = ["| curve | from | to | time ~ size^ | most MB above the inputs |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['name']} | {one['sizes'][0]:,}: {one['seconds'][0]:.3g} s | {one['sizes'][-1]:,}: "
        f"{one['seconds'][-1]:.3g} s | {one['exponent_of_time']:.2f} | "
        f"{format(max(one['megabytes']), '.0f') if one['megabytes'] else ''} |"
        for one in curves
    ]
    return _CURVES + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
