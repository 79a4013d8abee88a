"""What the pipeline costs beside its workers: the study `digits` with 101 models, from raw data to report.

    python -m benchmarks.pipeline [--rounds 3]

The study is run in a warehouse and a process of its own through Dagster, as `memo demo` does, as many times as there are
rounds. The workers' own time is taken off the wall time: of each step, from the start of its tasks to the end of the last. What
is left is Dagster, checks, loads, labels, judgement, figures and report. What is recorded of the first tasks of a step while
others still run costs nobody time; the second row counts it in, for it takes off only the time in which the run did nothing but
wait for a worker. A second call, with nothing to do, and the load of the code location in a fresh process are timed too.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

from benchmarks.demo_results import Lines
from benchmarks.harness import Row, rounds_asked, write
from memo_assets.compute.executor import Task
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.outcomes import Outcome, Watcher
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.store.layout import WAREHOUSE_VARIABLE
from memo_assets.study_file import load_study

MODELS = 101
LOAD = "from memo_assets.definitions import defs; defs().resolve_asset_graph()"


class Timed(LocalExecutor):
    """Remembers how long workers had something to do, and how long they were waited for."""

    worked = 0.0
    waited = 0.0

    def watch(self, tasks: Sequence[Task], watcher: Watcher) -> Generator[Outcome]:
        began = ended = time.perf_counter()
        with closing(super().watch(tasks, watcher)) as outcomes:
            while True:
                asked = time.perf_counter()
                outcome = next(outcomes, None)
                self.waited += time.perf_counter() - asked
                if outcome is None:
                    self.worked += ended - began
                    return
                ended = time.perf_counter()
                yield outcome


def run(models: int) -> tuple[float, float, float, float]:
    """Seconds of the study, of the workers, of waiting for them, and of a second call with nothing to do."""
    settings = load_study("digits").model_dump()
    settings["shadows"] |= {"models": models, "membership": "drawn"}
    study = Study.model_validate(settings)
    with tempfile.TemporaryDirectory() as folder, closing(Timed()) as executor:
        os.environ[WAREHOUSE_VARIABLE] = folder
        os.environ.pop("DAGSTER_HOME", None)
        watcher = Lines()
        definitions = build_defs([study], {"observer": watcher, "executor": executor})
        with open_instance() as instance:
            began = time.perf_counter()
            bring_up_to_date(study, definitions, instance, watcher)
            whole = time.perf_counter() - began
            began = time.perf_counter()
            assert bring_up_to_date(study, definitions, instance, watcher) == 0
            return whole, executor.worked, executor.waited, time.perf_counter() - began


def main() -> None:
    """All rows."""
    rounds = rounds_asked(__doc__, 3)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as processes:
        taken = list(processes.map(run, [MODELS] * rounds))
    beside = [whole - worked for whole, worked, _, _ in taken]
    busy = [whole - waited for whole, _, waited, _ in taken]
    whole, worked, waited, again = map(statistics.median, zip(*taken, strict=True))
    loads = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", LOAD], check=True)
        loads.append(time.perf_counter() - began)
    size = f"digits, {MODELS} models"
    seconds = {"whole": whole, "workers": worked, "waiting for workers": waited}
    rows = [
        Row(
            "pipeline beside its workers: seconds",
            size,
            "the clock",
            statistics.median(beside),
            target=20,
            at_least=False,
            seconds=seconds,
            spread=(min(beside), max(beside)),
            rounds=rounds,
        ),
        Row(
            "pipeline beside its workers and while they run: seconds",
            size,
            "the clock",
            statistics.median(busy),
            seconds=seconds,
            spread=(min(busy), max(busy)),
            rounds=rounds,
        ),
        Row("pipeline with nothing to do: seconds", size, "the clock", again, seconds={"again": again}),
        Row(
            "code location load: seconds",
            "all built-in studies, fresh process",
            "the clock",
            statistics.median(loads),
            target=3,
            at_least=False,
            spread=(min(loads), max(loads)),
            rounds=rounds,
        ),
    ]
    write("pipeline", rows)


if __name__ == "__main__":
    main()
