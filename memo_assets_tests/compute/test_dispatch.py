"""Runs that are killed, closed, repeated or side by side: nothing is lost and nothing is done twice.

With the real executor of this machine and real runs in processes of their own.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from memo_assets.compute import dispatch, local
from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Task
from memo_assets.compute.items import WorkItem
from memo_assets.compute.ledger import Ledger, RunName, State
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.outcomes import Outcome, Watcher
from memo_assets.store.files import content_hash
from memo_assets.store.layout import Layout

from .helpers import Seen, another_process, runs
from .small_items import ENDLESS, item, small_study, write_inputs

# A run that has got its first outcome and not yet recorded it.
DRIVER = """
import sys
from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.items import WorkItem
from memo_assets.compute.ledger import Ledger, RunName
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.outcomes import Silent

items = [WorkItem.model_validate_json(text) for text in sys.argv[1:]]
ledger = Ledger(items[0].layout, "adapters")
for outcome in Dispatch(LocalExecutor(), ledger, RunName(id="driver", root="driver"), Silent()).outcomes(items):
    assert outcome.result.error is None, outcome
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    """One pool of workers for all tests: they import torch once."""
    with closing(LocalExecutor()) as pool:
        yield pool


class Platform:
    """The adapters of a small study, and runs that compute them.

    Args:
        warehouse: the warehouse directory.
        executor: of this process.
    """

    def __init__(self, warehouse: Path, executor: LocalExecutor) -> None:
        self.warehouse = warehouse
        self.executor = executor
        self.study = small_study({"compute.workers": 1})
        self.layout = write_inputs(warehouse, self.study)
        self._of_runs: list[Ledger] = []  # which would give up their claims when they are forgotten

    def items(self, *packs: Sequence[int]) -> list[WorkItem]:
        return [item(self.warehouse, self.study, "adapters", list(pack)) for pack in packs]

    def ledger(self) -> Ledger:
        """As a run opens it."""
        return Ledger(self.layout, "adapters")

    def outcomes(
        self,
        items: Sequence[WorkItem],
        run: str,
        root: str | None = None,
        watcher: Watcher | None = None,
    ) -> Generator[Outcome]:
        """Outcomes of a run, in this process."""
        name = RunName(id=run, root=root or run)
        self._of_runs.append(self.ledger())
        return Dispatch(self.executor, self._of_runs[-1], name, watcher or Seen()).outcomes(items)

    @contextmanager
    def driver(self, items: Sequence[WorkItem]) -> Iterator[Popen[str]]:
        """A run in another process that has trained its first item, and lives."""
        with another_process(DRIVER, *(one.model_dump_json() for one in items)) as process:
            yield process

    def states(self, *seeds: int) -> list[State | None]:
        found = [self.ledger().read(seed) for seed in seeds]
        return [None if entry is None else entry.state for entry in found]

    def trained_at(self, *seeds: int) -> list[int]:
        """When training logs were written: one trained again has another time."""
        return [self.layout.training_log(seed).stat().st_mtime_ns for seed in seeds]


@pytest.fixture
def platform(warehouse: Path, executor: LocalExecutor) -> Platform:
    return Platform(warehouse, executor)


def record(outcome: Outcome, ledger: Ledger, run: str) -> None:
    """Do what an asset does with an outcome."""
    ledger.mark(outcome.item, "recorded", RunName(id=run, root=run), units=outcome.wanted)


def assert_whole(outcome: Outcome, layout: Layout) -> None:
    """The result is that of the files on disk."""
    assert outcome.result.error is None
    for seed in outcome.wanted:
        files = [layout.adapter(seed, epoch) for epoch in (0, 1, 2)]
        assert outcome.result.seeds[seed].data_version == content_hash(*files)


def test_results_are_taken_up_after_a_kill_between_result_and_record(platform: Platform) -> None:
    sent = platform.items([0, 1], [2, 3])
    with platform.driver(sent) as process:
        process.kill()
        process.wait()
        before = platform.trained_at(0, 1)
        assert platform.states(0, 1, 2, 3) == ["claimed"] * 4
        assert not platform.layout.training_log(2).exists()
        seen = Seen()
        with closing(platform.outcomes(platform.items([0, 1], [2, 3]), "next", watcher=seen)) as outcomes:
            first = next(outcomes)
            (refused,) = platform.outcomes(platform.items([1]), "at once")  # it is not yet recorded
            assert "is being computed by run" in str(refused.result.error)
            (second,) = outcomes
    assert first.item == sent[0]
    assert first.wanted == [0, 1]
    assert first.log is None
    assert second.item == sent[1]
    assert_whole(first, platform.layout)
    assert_whole(second, platform.layout)
    assert platform.trained_at(0, 1) == before
    assert seen.states == [
        "adapters, seeds 0 to 1 (2): finished while no run was there, taken up",
        "1 work items, 2 split seeds, on this machine",
    ]
    assert set(seen.logs) == {sent[1].key}


def test_two_runs_at_once_refuse_exactly_what_the_other_computes(platform: Platform) -> None:
    with platform.driver(platform.items([0, 1])) as process:
        before = platform.trained_at(0, 1)
        outcomes = list(platform.outcomes(platform.items([1, 2], [3]), "second"))
        assert process.poll() is None
        assert platform.trained_at(0, 1) == before
        assert [outcome.wanted for outcome in outcomes] == [[1], [2], [3]]
        assert outcomes[0].result.error == (
            "tiny/adapters, seed 1 is being computed by run driver: wait for that run, or cancel it and materialize again"
        )
        for outcome in outcomes[1:]:
            assert_whole(outcome, platform.layout)
        entry = platform.ledger().read(1)
        assert entry is not None
        assert (entry.state, entry.run.id) == ("claimed", "driver")
        process.kill()
        process.wait()
        (taken,) = platform.outcomes(platform.items([1]), "third")
    assert taken.wanted == [1]
    assert_whole(taken, platform.layout)
    assert platform.trained_at(0, 1) == before


def test_closing_the_iterator_ends_the_workers_and_the_next_run_does_just_the_rest(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[local._Worker] = []
    start: Callable[..., local._Worker] = local._start

    def recorded(threads: int, modules: Sequence[str]) -> local._Worker:
        started.append(start(threads, modules))
        return started[-1]

    monkeypatch.setattr(local, "_start", recorded)
    two = {"compute.workers": 2}
    endless = item(platform.warehouse, small_study({**ENDLESS, **two}), "adapters", [1, 2])
    short = item(platform.warehouse, small_study(two), "adapters", [0])
    with closing(LocalExecutor()) as pool:
        platform.executor = pool
        with closing(platform.outcomes([endless, short], "first")) as outcomes:
            assert next(outcomes).wanted == [0]
            (busy,) = [worker for worker in started if worker.item is not None]
            assert busy.item == endless
            assert runs(busy.process.pid)
        assert not runs(busy.process.pid)
        before = platform.trained_at(0)
        assert platform.states(0, 1, 2) == ["claimed"] * 3
        seen = Seen()
        taken, rest = platform.outcomes(platform.items([0], [1, 2]), "second", watcher=seen)
    assert (taken.wanted, rest.wanted) == ([0], [1, 2])
    assert platform.trained_at(0) == before
    assert_whole(taken, platform.layout)
    assert_whole(rest, platform.layout)
    assert seen.states[-1] == "1 work items, 2 split seeds, on this machine"


def test_a_run_executed_again_does_not_repeat_what_it_has_recorded(platform: Platform) -> None:
    items = platform.items([0, 1], [2, 3])
    with closing(platform.outcomes(items, "first")) as outcomes:
        record(next(outcomes), platform.ledger(), "first")
    assert platform.states(0, 1, 2, 3) == ["recorded", "recorded", "claimed", "claimed"]
    before, seen = platform.trained_at(0, 1), Seen()
    (rest,) = platform.outcomes(items, "again", root="first", watcher=seen)
    assert rest.item == items[1]
    assert_whole(rest, platform.layout)
    assert seen.states[0] == ("tiny/adapters: seeds 0 to 1 (2) recorded by the run that is executed again")
    record(rest, platform.ledger(), "first")
    assert list(platform.outcomes(items, "once more", root="first")) == []
    assert platform.trained_at(0, 1) == before
    redone = list(platform.outcomes(items, "another"))  # who asks anew gets all of it anew
    assert [outcome.wanted for outcome in redone] == [[0, 1], [2, 3]]
    assert all(new > old for new, old in zip(platform.trained_at(0, 1), before, strict=True))


def stale(platform: Platform, *packs: Sequence[int]) -> list[WorkItem]:
    """Items that a worker refuses at once."""
    return [one.model_copy(update={"code_version": "of yesterday"}) for one in platform.items(*packs)]


def test_seeds_that_fail_are_entered_as_failed_and_sent_again(platform: Platform) -> None:
    items = stale(platform, [0, 1])
    (failed,) = platform.outcomes(items, "first")
    assert str(failed.result.error).startswith("this worker runs code version ")
    assert platform.states(0, 1) == ["failed", "failed"]
    seen = Seen()
    (again,) = platform.outcomes(items, "again", root="first", watcher=seen)
    assert again.result.error == failed.result.error
    assert seen.states == ["1 work items, 2 split seeds, on this machine"]


def test_claims_end_with_the_run_and_arrays_of_repeated_attempts_are_forgotten(platform: Platform) -> None:
    ledger, arrays = platform.ledger(), []
    for run in ("first", "second", "third"):
        with closing(platform.outcomes(stale(platform, [0]), run)) as outcomes:
            next(outcomes)
            entry = ledger.read(0)
            assert entry is not None
            arrays.append(entry.array)
            assert not ledger.claim(entry.array)
        assert ledger.claim(entry.array)
        ledger.release()
    assert len(set(arrays)) == 3
    left = {path.name for path in ledger.arrays.iterdir()}
    assert left == set(arrays[1:])  # that of the last attempt but one goes with the next


def test_many_items_are_sent_in_several_arrays(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_TASKS_PER_ARRAY", 2)
    outcomes = list(platform.outcomes(stale(platform, [0], [1], [2]), "first"))
    assert [outcome.wanted for outcome in outcomes] == [[0], [1], [2]]
    entries = [platform.ledger().read(seed) for seed in range(3)]
    places = [(entry.array, entry.index) for entry in entries if entry is not None]
    assert places[0][0] == places[1][0] != places[2][0]
    assert [index for _, index in places] == [0, 1, 0]


class Full(LocalExecutor):
    """Takes one array and refuses the next.

    Args:
        taken: how many arrays it takes.
    """

    def __init__(self, taken: int) -> None:
        super().__init__()
        self.left = taken
        self.cancelled: list[Task] = []

    def submit(self, tasks: Sequence[Task], watcher: Watcher) -> list[Task]:
        if not self.left:
            raise ExecutorError("the queue is full")
        self.left -= 1
        return super().submit(tasks, watcher)

    def cancel(self, tasks: Sequence[Task], watcher: Watcher, *, wait: bool = False) -> None:
        self.cancelled += tasks


def test_what_is_refused_when_sent_is_failed_and_what_was_sent_before_is_cancelled(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_TASKS_PER_ARRAY", 1)
    platform.executor = full = Full(taken=1)
    with pytest.raises(ExecutorError, match="the queue is full"):
        list(platform.outcomes(stale(platform, [0], [1], [2]), "first"))
    assert platform.states(0, 1, 2) == ["claimed", "failed", None]
    assert [task.item.seeds for task in full.cancelled] == [[0]]
    ledger = platform.ledger()
    for array in list(ledger.arrays.iterdir()):
        assert ledger.claim(array.name)
    ledger.release()


class Absent(LocalExecutor):
    """Cannot compute anything."""

    def prepare(self, items: Sequence[WorkItem], watcher: Watcher) -> None:
        raise ExecutorError("no node answers")


def test_nothing_is_claimed_where_nothing_can_be_computed(platform: Platform) -> None:
    platform.executor = Absent()
    with pytest.raises(ExecutorError, match="no node answers"):
        list(platform.outcomes(stale(platform, [0]), "first"))
    assert not platform.layout.work.exists()
