"""A real cluster for the tests of this folder, and a lab to do damage in."""

import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.executor import Executor
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.ledger import Ledger, RunName
from memo_assets.compute.outcomes import Outcome
from memo_assets.compute.slurm import executor
from memo_assets.compute.slurm.executor import SlurmExecutor
from memo_assets.config import Study
from memo_assets.store.layout import Layout
from memo_assets_tests.compute.small_items import item, small_study, write_inputs
from memo_assets_tests.slurm.one_machine import OneMachineSlurm

REQUIRED_VARIABLE = "MEMO_REQUIRE_SLURM"
LIVING = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneMachineSlurm]:
    """One cluster for all tests of this process; without Slurm here they are skipped, or fail where it is required."""
    if missing := OneMachineSlurm.missing():
        sentence = f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
        if os.environ.get(REQUIRED_VARIABLE):
            pytest.fail(sentence)
        pytest.skip(sentence)
    made = OneMachineSlurm(tmp_path_factory.mktemp("slurm"))
    made.start()
    yield made
    made.stop()


@dataclass
class Seen:
    """A watcher that remembers, and acts when something happens.

    Attributes:
        states: what was told of the queue.
        logs: what workers logged.
        when_training: called once for each item that has made progress.
    """

    states: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    when_training: Callable[[WorkItem], None] | None = None
    training: set[str] = field(default_factory=set)

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        if item.key not in self.training and progress.done < progress.total:
            self.training.add(item.key)
            if self.when_training is not None:
                self.when_training(item)

    def on_log(self, item: WorkItem, text: str) -> None:
        self.logs += [f"{item}: {line}" for line in text.splitlines()]

    def on_state(self, text: str) -> None:
        self.states.append(text)

    @property
    def said(self) -> str:
        return "\n".join(self.states)

    def arrays(self) -> list[str]:
        """Ids of the arrays that were submitted."""
        return [state.split()[2].rstrip(":") for state in self.states if " tasks, " in state]


LONG = 8_000  # training steps: long enough to be disturbed, some seconds if nobody does


class Lab:
    """A small study on the cluster.

    Args:
        cluster: the cluster.
        warehouse: of the study.
    """

    def __init__(self, cluster: OneMachineSlurm, warehouse: Path) -> None:
        self.cluster = cluster
        self.warehouse = warehouse
        self.layout = Layout(warehouse, "tiny")
        self._runs = 0

    def study(self, steps: int = 10, /, **changes: Any) -> Study:
        """90 images and 4 models, so many training steps; on the made-up GPUs of the cluster."""
        assert steps % 5 == 0
        given = {
            "training.epochs": steps // 5,
            "training.checkpoints": [0, steps // 5],
            "compute.slurm.gres": "gpu:1",
            "compute.slurm.memory": "2G",
            **changes,
        }
        return small_study(given)

    def inputs(self, study: Study) -> None:
        """Write samples and split masks."""
        write_inputs(self.warehouse, study)

    def items(self, study: Study, *packs: Sequence[int]) -> list[WorkItem]:
        """Items that train adapters."""
        return [item(self.warehouse, study, "adapters", list(pack)) for pack in packs]

    @property
    def ledger(self) -> Ledger:
        """A ledger as a new run opens it."""
        return Ledger(self.layout, "adapters")

    def outcomes(
        self,
        items: Sequence[WorkItem],
        seen: Seen,
        *,
        run: RunName | None = None,
        by: Executor | None = None,
    ) -> Generator[Outcome]:
        """What a run of the platform does with items."""
        ledger = Ledger(self.layout, items[0].step)
        return Dispatch(by or SlurmExecutor(), ledger, run or self._next_run(), seen).outcomes(items)

    def run(self, items: Sequence[WorkItem], seen: Seen | None = None) -> dict[tuple[int, ...], Outcome]:
        """Run to the end and record what went well, as the assets do; outcomes by seeds."""
        ended = {}
        name = self._next_run()
        with closing(self.outcomes(items, seen or Seen(), run=name)) as outcomes:
            for outcome in outcomes:
                ended[tuple(outcome.wanted)] = outcome
                if not outcome.result.error:
                    Ledger(self.layout, items[0].step).mark(
                        outcome.item, "recorded", name, units=outcome.wanted
                    )
        return ended

    def _next_run(self) -> RunName:
        self._runs += 1
        return RunName(id=f"run-{self._runs}", root=f"run-{self._runs}")

    def living(self) -> list[str]:
        """Tasks that are queued or running."""
        return self.cluster.call("squeue", "-h", "-r", "-t", LIVING, "-o", "%i").split()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for something, or fail."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.1)

    def worker(self, of: WorkItem) -> int:
        """Process id of the worker that computes an item, from its log."""
        entry = self.ledger.read(of.units[0])
        assert entry is not None
        log = self.ledger.arrays / entry.array / f"{entry.task}_0_log.out"
        lines = [line for line in log.read_text().splitlines() if ", process " in line]
        return int(lines[-1].rsplit(" ", 1)[1])

    def trained(self) -> list[int]:
        """Seeds whose adapters are there, whole."""
        found = [seed for seed in range(4) if self.layout.training_log(seed).is_file()]
        left = list(self.layout.adapters(0).parent.glob(".*")) if found else []
        assert not left, f"temporary files are left: {left}"
        return found


@pytest.fixture
def lab(cluster: OneMachineSlurm, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose queue is empty before and must be empty after."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    monkeypatch.setenv("MEMO_EXECUTOR", "slurm")
    monkeypatch.setattr(executor, "_LAST_POLL_SECONDS", 2.0)  # tests last seconds, not hours
    monkeypatch.setattr(executor, "_GRACE_SECONDS", 2.0)
    # The nodes are checked by the first test; the others find its record, as the runs of one warehouse do.
    probes, own = cluster.folder / "probes", warehouse / "slurm_probes"
    if probes.is_dir():
        shutil.copytree(probes, own)
    made = Lab(cluster, warehouse)
    yield made
    for record in own.glob("*.json"):
        probes.mkdir(exist_ok=True)
        shutil.copy(record, probes)
    until = time.monotonic() + 40
    while left := made.living():
        if time.monotonic() > until:
            cluster.call("scancel", *left)
            pytest.fail(f"tasks are left in the queue: {left}")
        time.sleep(0.2)
