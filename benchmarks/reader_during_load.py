"""A reader that leaves its query open for minutes while the warehouse is loaded again and again: does either wait?

    python benchmarks/reader_during_load.py [--seconds 300] [--out benchmarks/results/reader_during_load.json]

A warehouse of its own holds one study: 100 models, 10,000 samples, five checkpoints. Blocks of 25 models are loaded in
turn, each load a block of 1.25 million rows of logits with all that goes with it. A process opens `FROM logits`, the
whole table, takes a thousand rows every tenth of a second, and has not reached the end when the time is over; then it
counts the rest. Loads are timed for half of that time before, while the reader is open, and for half of it afterwards;
fetches are timed too, at first without loads. Prints medians and their ratios, and fails if the reader saw anything but
the table as it was when its query began, or if a new reader does not see what was loaded last.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from memo_assets.store.files import write_json, write_parquet
from memo_assets.store.layout import WAREHOUSE_VARIABLE, Layout, database_path, warehouse_dir
from memo_assets.store.load import load_block
from memo_assets.store.tables import publish, reading

MODELS, BLOCK, SAMPLES, EPOCHS, OPTIONS = 100, 25, 10_000, (0.0, 0.5, 1.0, 2.0, 3.0), 4
ALONE = 10  # seconds in which the reader reads before the first load
RESULT = Path(__file__).parent / "results" / "reader_during_load.json"

READER = """
import json, sys, threading, time
from memo_assets.store.tables import reading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
with reading() as connection:
    connection.execute("SET enable_progress_bar = false")  # DuckDB takes a script given by -c for a person
    cursor = connection.execute("SELECT loss FROM logits")
    rows, total, fetches = 0, 0.0, []
    while not over.is_set():
        began = time.monotonic()
        batch = cursor.fetchmany(1000)
        if rows:
            fetches.append((began, time.monotonic() - began))
        else:
            print("open", flush=True)  # the first rows took the time to begin with the query
        rows, total = rows + len(batch), total + sum(loss for loss, in batch)
        time.sleep(0.1)
    midst = rows
    while batch := cursor.fetchmany(100_000):
        rows, total = rows + len(batch), total + sum(loss for loss, in batch)
print(json.dumps({"fetches": fetches, "rows_in_the_midst": midst, "rows": rows, "sum": total}))
"""


def write_files(layout: Layout, losses: float) -> None:
    """Files of all models, as workers leave them; every loss is the same whole number."""
    places = len(EPOCHS) * SAMPLES
    for seed in range(MODELS):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=(places, OPTIONS)).astype(np.float32)
        table = {
            "split_seed": np.full(places, seed, np.int32),
            "epoch": np.repeat(EPOCHS, SAMPLES),
            "sample_id": np.tile(np.arange(SAMPLES), len(EPOCHS)),
            "loss": np.full(places, losses, np.float32),
            "logit_gap": rng.normal(size=places).astype(np.float32),
        }
        lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), OPTIONS).cast(
            pa.list_(pa.float32())
        )
        write_parquet(layout.logits(seed), pa.table({**table, "option_logits": lists}))
        write_parquet(
            layout.split_mask(seed), pa.table({"sample_id": rng.permutation(SAMPLES)[: SAMPLES // 2]})
        )
        entry = {"step": 0, "train_loss_mean": None, "train_loss_median": None, "learning_rate": 0.0}
        write_json(
            layout.training_log(seed), {"checkpoints": [{"epoch": epoch, **entry} for epoch in EPOCHS]}
        )


class Loads:
    """Loads the blocks of a study in turn."""

    def __init__(self) -> None:
        self._blocks = itertools.cycle(list(range(start, start + BLOCK)) for start in range(0, MODELS, BLOCK))

    def one(self, layout: Layout) -> float:
        """Load the next block; seconds it took."""
        began = time.monotonic()
        with publish() as connection:
            load_block(connection, layout, next(self._blocks))
        return time.monotonic() - began

    def during(self, seconds: float, layout: Layout) -> list[float]:
        """Load for a time, at least once; seconds of each load."""
        end, taken = time.monotonic() + seconds, []
        while not taken or time.monotonic() < end:
            taken.append(self.one(layout))
        return taken


def table_now() -> tuple[int, float]:
    """Rows of logits and sum of their losses, as a new reader sees them."""
    with reading() as connection:
        row = connection.execute("SELECT count(*), sum(loss::DOUBLE) FROM logits").fetchone()
        assert row is not None
        return row


def measured(seconds: float) -> dict:
    """All that was measured in a warehouse of its own."""
    first, second = (Layout(warehouse_dir() / name, "load") for name in ("first", "second"))
    write_files(first, 1.0)
    write_files(second, 2.0)  # what is loaded beside the reader is told from what it sees
    loads = Loads()
    for _ in range(MODELS // BLOCK):
        loads.one(first)
    before = table_now()
    without = loads.during(seconds / 4, first)
    process = subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    opened = time.monotonic()
    time.sleep(ALONE)
    beside = loads.during(seconds - ALONE, second)
    ended = time.monotonic()
    after = table_now()
    answer, _ = process.communicate("")
    assert process.returncode == 0, "the reader failed"
    found = json.loads(answer)
    without += loads.during(seconds / 4, first)
    assert (found["rows"], found["sum"]) == before, "the reader saw more than the table as it was"
    assert found["rows_in_the_midst"] < before[0], "the reader came to an end before the loads did"
    assert after[1] > before[1], "a new reader does not see what was loaded"
    alone = [taken for start, taken in found["fetches"] if start < opened + ALONE]
    busy = [taken for start, taken in found["fetches"] if opened + ALONE <= start < ended]
    return {
        "logits_rows": before[0],
        "rows_of_a_load": BLOCK * SAMPLES * len(EPOCHS),
        "warehouse_mb": round(database_path().stat().st_size / 1e6, 1),
        "reader_open_seconds": round(ended - opened, 1),
        "load_seconds_without_reader": [round(taken, 3) for taken in without],
        "load_seconds_with_reader": [round(taken, 3) for taken in beside],
        "load_ratio": round(statistics.median(beside) / statistics.median(without), 3),
        "fetches_without_load": _milliseconds(alone),
        "fetches_with_load": _milliseconds(busy),
    }


def _milliseconds(taken: list[float]) -> dict[str, float]:
    return {
        "n": len(taken),
        "median_ms": round(1000 * statistics.median(taken), 2),
        "longest_ms": round(1000 * max(taken), 2),
    }


def main() -> None:
    """Measure, print a few lines and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300, help="that the reader is open, up to 480")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[WAREHOUSE_VARIABLE] = folder
        found = measured(arguments.seconds)
    loads = {name: found[f"load_seconds_{name}_reader"] for name in ("without", "with")}
    print(
        f"{found['logits_rows']:,} rows of logits, {found['warehouse_mb']} MB; a load is {found['rows_of_a_load']:,} rows; "
        f"the reader was open for {found['reader_open_seconds']} s"
    )
    for name, taken in loads.items():
        print(
            f"{len(taken)} loads {name} reader: median {statistics.median(taken):.2f} s, longest {max(taken):.2f} s"
        )
    print(f"ratio of the medians, with to without: {found['load_ratio']:.2f}")
    for name in ("without", "with"):
        fetches = found[f"fetches_{name}_load"]
        print(
            f"{fetches['n']} fetches of 1000 rows {name} loads: median {fetches['median_ms']} ms, longest "
            f"{fetches['longest_ms']} ms"
        )
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "duckdb": duckdb.__version__,
    }
    write_json(arguments.out, {"machine": machine, "results": found})


if __name__ == "__main__":
    main()
