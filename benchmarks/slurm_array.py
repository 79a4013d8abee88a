"""What a Slurm task costs beside its work: the adapters of `digits`, one array of one split seed a task.

Run on a machine with Slurm (one made by `make slurm` will do):

    SLURM_CONF=... python benchmarks/slurm_array.py --seeds 100 --parallel 2

The same items are computed twice in turn: by the executor of this machine, whose workers stay alive from item to item,
and as one array. Written to benchmarks/results/slurm_array.json: seconds of both, overhead per task, and the memory of
the submitting process over time. The adapters of both must be the same bit for bit.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from memo_assets.assets.training import work_item
from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.executor import Executor
from memo_assets.compute.ledger import Ledger, RunName
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.outcomes import Silent
from memo_assets.compute.slurm.executor import SlurmExecutor
from memo_assets.config import Study
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.splits import split_mask
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets.study import load_study

RESULT = Path(__file__).parent / "results" / "slurm_array.json"


class MemoryOverTime:
    """Resident memory of this process, twice a second."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.megabytes.append(psutil.Process().memory_info().rss / 1e6)


def write_inputs(study: Study) -> None:
    """Samples and split masks, as their assets write them."""
    import pyarrow as pa

    layout = Layout.of(study.name)
    samples = build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    write_parquet(layout.samples, samples_table(samples))
    pool = samples.loc[samples["part"] == "pool", "sample_id"].to_numpy()
    for seed in study.seeds:
        ids = pool[split_mask(len(pool), study.shadows.train_share, seed)]
        write_parquet(layout.split_mask(seed), pa.table({"sample_id": ids}))


@dataclass(frozen=True)
class Timed:
    """How an executor did.

    seconds: in all.
    work: seconds of each item in its worker.
    versions: data version of every split seed's result.
    megabytes: memory of this process every half second.
    """

    seconds: float
    work: list[float]
    versions: dict[int, str]
    megabytes: list[float]


def timed(executor: Executor, study: Study, seeds: int) -> Timed:
    """Compute one item a seed in a fresh warehouse."""
    with tempfile.TemporaryDirectory(prefix="memo-bench-") as folder:
        os.environ["MEMO_WAREHOUSE"] = folder
        write_inputs(study)
        items = [work_item(study, "adapters", [seed]) for seed in range(seeds)]
        ledger = Ledger(Layout.of(study.name), "adapters")
        executor.prepare(items, Silent())  # the nodes are checked outside the measurement
        started = time.perf_counter()
        with MemoryOverTime() as memory:
            name = RunName(id="bench", root="bench")
            outcomes = list(Dispatch(executor, ledger, name, Silent()).outcomes(items))
        seconds = time.perf_counter() - started
    errors = [outcome.result.error for outcome in outcomes if outcome.result.error]
    assert not errors, errors[0]
    assert len(outcomes) == seeds
    results = [outcome.result for outcome in outcomes]
    versions = {seed: of_seed.data_version for result in results for seed, of_seed in result.seeds.items()}
    return Timed(seconds, [result.seconds for result in results], versions, memory.megabytes)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=2, help="tasks, and workers here, side by side")
    given = parser.parse_args()
    settings = load_study("digits").model_dump()
    settings["compute"] |= {"pack": 1, "workers": given.parallel, "device": "cpu"}
    settings["compute"]["slurm"] |= {"gres": "gpu:1", "parallel": given.parallel}
    study = Study.model_validate(settings)
    with closing(LocalExecutor()) as local:
        here = timed(local, study, given.seeds)
    there = timed(SlurmExecutor(), study, given.seeds)
    assert here.versions == there.versions, "the two executors do not give the same weights"
    memory = there.megabytes
    tenth = max(len(memory) // 10, 1)
    work, task = statistics.median(here.work), statistics.median(there.work)
    slot = there.seconds * given.parallel / given.seeds
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "tasks": given.seeds,
        "side_by_side": given.parallel,
        "local_seconds": round(here.seconds, 1),
        "slurm_seconds": round(there.seconds, 1),
        "slurm_over_local": round(there.seconds / here.seconds, 2),
        # Per task: the training alone, in a worker that has imported torch; what importing it adds; what Slurm and
        # starting Python add, until the slot is free for the next task.
        "training_seconds": round(work, 2),
        "import_seconds": round(task - work, 2),
        "slurm_and_start_seconds": round(slot - task, 2),
        "overhead_seconds": round(slot - work, 2),
        "submitter_mb_first_tenth": round(statistics.median(memory[:tenth]), 1),
        "submitter_mb_last_tenth": round(statistics.median(memory[-tenth:]), 1),
        "submitter_mb_most": round(max(memory), 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
