"""What becomes of each wanted seed, by what the ledger says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Task
from memo_assets.compute.items import NO_SEED, ItemResult, SeedResult, WorkItem
from memo_assets.compute.ledger import Entry, Ledger, RunName, State
from memo_assets.compute.planning import Jobs, Plan, Planner
from memo_assets.config import GpuStep
from memo_assets.store.files import write_json, write_text
from memo_assets.store.layout import Layout
from memo_assets_tests.studies import CITIES, study

from .small_items import item, small_study

FIRST = RunName(id="first", root="first")
AGAIN = RunName(id="again", root="first")  # executes the first again
OTHER = RunName(id="other", root="other")


class Past:
    """What earlier runs have left of one step of one study.

    Args:
        warehouse: the warehouse directory.
        step: the asset.
    """

    def __init__(self, warehouse: Path, step: GpuStep = "adapters") -> None:
        self.study = study(CITIES) if step == "base_model" else small_study()
        self.step: GpuStep = step
        self.warehouse = warehouse
        self.layout = Layout(warehouse, self.study.name)
        self.ledger = Ledger(self.layout, step)  # of the run that plans
        self.living = Ledger(self.layout, step)  # of another run

    def item(self, *seeds: int, mask: str = "a") -> WorkItem:
        """An item; `mask` stands for what the seeds' masks hold."""
        inputs = {"samples.parquet": "s", **{f"split_masks/seed={seed}.parquet": mask for seed in seeds}}
        return item(self.warehouse, self.study, self.step, list(seeds), inputs=inputs)

    def sent(
        self,
        given: WorkItem,
        state: State = "submitted",
        *,
        run: RunName = FIRST,
        array: str = "array",
        index: int = 0,
        job: str | None = None,
        units: list[int] | None = None,
    ) -> WorkItem:
        """Enter an item as sent by a run, which is dead as long as nobody claims the array."""
        self.ledger.begin_array(array, [given])
        entry = Entry(
            unit_key="",
            item=given.key,
            state=state,
            executor="slurm" if job else "local",
            array=array,
            index=index,
            job=job,
            run=run,
        )
        for unit in given.units if units is None else units:
            self.ledger.write({unit: entry.model_copy(update={"unit_key": given.unit_keys()[unit]})})
        return given

    def made(self, *units: int) -> None:
        """Write the files that a step makes."""
        for unit in units:
            write_text(self.layout.output(self.step, None if unit == NO_SEED else unit), "made")

    def result(self, given: WorkItem, error: str | None = None) -> ItemResult:
        """Write what a worker reports."""
        seeds = {} if error else {unit: SeedResult(data_version=f"v{unit}") for unit in given.units}
        found = ItemResult(seeds=seeds, error=error, job="17_0", seconds=2.0)
        write_json(given.folder / "result.json", found.model_dump(mode="json"))
        return found

    def plan(self, *items: WorkItem, run: RunName = OTHER, there: Jobs | None = None) -> Plan:
        """What a run decides."""
        planner = Planner(self.ledger, run)
        planner.orphans(items)
        return planner.plan(items, there or {})


@pytest.fixture
def past(warehouse: Path) -> Iterator[Past]:
    made = Past(warehouse)
    yield made
    made.ledger.release()
    made.living.release()


@pytest.fixture
def base(warehouse: Path) -> Iterator[Past]:
    """Of a step without partitions."""
    made = Past(warehouse, "base_model")
    yield made
    made.ledger.release()
    made.living.release()


def test_seeds_without_an_entry_are_sent_as_they_are_packed(past: Past) -> None:
    items = [past.item(0, 1), past.item(2, 3)]
    past.made(0, 1)  # files of a warehouse whose ledger is gone
    assert past.plan(*items) == Plan(fresh=items)


def test_failed_seeds_are_sent_again(past: Past) -> None:
    given = past.sent(past.item(0, 1), "failed")
    past.result(given)
    past.made(0, 1)
    assert past.plan(given, run=AGAIN) == Plan(fresh=[given])


def test_seeds_that_the_run_executed_again_has_recorded_are_skipped(past: Past) -> None:
    given = past.sent(past.item(0, 1), "recorded")
    past.made(0, 1)
    assert past.plan(given, run=AGAIN) == Plan(recorded=[0, 1])
    assert past.plan(given, run=FIRST) == Plan(recorded=[0, 1])


def test_recorded_seeds_whose_files_are_gone_are_sent_again(past: Past) -> None:
    given = past.sent(past.item(0, 1), "recorded")
    past.made(0)
    assert past.plan(given, run=AGAIN) == Plan(recorded=[0], fresh=[given.only([1])])


def test_recorded_seeds_whose_inputs_have_changed_are_sent_again(past: Past) -> None:
    past.sent(past.item(0, 1), "recorded")
    past.made(0, 1)
    changed = past.item(0, 1, mask="b")
    assert past.plan(changed, run=AGAIN) == Plan(fresh=[changed])


def test_seeds_that_another_run_has_recorded_are_sent_again(past: Past) -> None:
    given = past.sent(past.item(0, 1), "recorded")
    past.made(0, 1)
    assert past.plan(given, run=OTHER) == Plan(fresh=[given])


def test_a_recorded_base_model_is_never_skipped_since_its_step_returns_a_result(base: Past) -> None:
    given = base.sent(base.item(), "recorded")
    base.made(NO_SEED)
    assert base.plan(given, run=AGAIN) == Plan(fresh=[given])


@pytest.mark.parametrize(("job", "where"), [("17", ", Slurm job 17_4"), (None, "")])
@pytest.mark.parametrize("state", ["claimed", "submitted"])
def test_seeds_of_a_living_run_are_refused_with_that_run_and_its_job(
    past: Past, state: State, job: str | None, where: str
) -> None:
    theirs = past.sent(past.item(1, 2), state, index=4, job=job)
    past.result(theirs)
    past.made(1, 2)
    assert past.living.claim("array")
    plan = past.plan(past.item(0, 1), past.item(2, 3), there={("array", 4): "17"})
    assert [outcome.item for outcome in plan.refused] == [past.item(1), past.item(2)]
    assert [outcome.result.error for outcome in plan.refused] == [
        f"tiny/adapters, seed {seed} is being computed by run first{where}: wait for that run, or cancel it and materialize "
        "again"
        for seed in (1, 2)
    ]
    assert all(outcome.log is None and outcome.result.seeds == {} for outcome in plan.refused)
    assert plan == Plan(refused=plan.refused, fresh=[past.item(0), past.item(3)])


def test_refused_seeds_of_one_pack_are_named_together_by_run_and_job(past: Past) -> None:
    past.sent(past.item(0, 1), array="a", job="17")
    past.sent(past.item(2), array="b", job="18", run=AGAIN)
    assert past.living.claim("a")
    assert past.living.claim("b")
    plan = past.plan(past.item(0, 1, 2))
    assert [outcome.item.seeds for outcome in plan.refused] == [[0, 1], [2]]
    sentences = [str(outcome.result.error) for outcome in plan.refused]
    assert "adapters, seeds 0 to 1 (2) is being computed by run first, Slurm job 17_0:" in sentences[0]
    assert "adapters, seed 2 is being computed by run again, Slurm job 18_0:" in sentences[1]
    assert plan.fresh == []


def test_a_base_model_of_a_living_run_is_refused(base: Past) -> None:
    given = base.sent(base.item())
    assert base.living.claim("array")
    (outcome,) = base.plan(given).refused
    assert outcome.item == given
    assert str(outcome.result.error).startswith("towns/base_model is being computed by run first: ")


def test_results_of_a_dead_run_are_taken_up_as_one_outcome_with_the_wanted_seeds(past: Past) -> None:
    theirs = past.sent(past.item(0, 1, 2, 3))
    result = past.result(theirs)
    past.made(0, 1, 2, 3)
    plan = past.plan(past.item(0, 1), past.item(3))
    (outcome,) = plan.finished.values()
    assert list(plan.finished) == [theirs.key]
    assert outcome.item == theirs
    assert outcome.result == result
    assert outcome.wanted == [0, 1, 3]
    assert plan == Plan(finished=plan.finished, finished_arrays={"array"})


@pytest.mark.parametrize("there", [{}, {("array", 0): "17"}])
def test_a_task_that_has_reported_but_not_yet_ended_is_taken_up_too(past: Past, there: Jobs) -> None:
    theirs = past.sent(past.item(0), job="17")
    past.result(theirs)
    past.made(0)
    plan = past.plan(past.item(0), there=there)
    assert [outcome.wanted for outcome in plan.finished.values()] == [[0]]
    assert plan.running == plan.obsolete == {}


def test_a_base_model_of_a_dead_run_is_taken_up(base: Past) -> None:
    given = base.sent(base.item())
    base.result(given)
    base.made(NO_SEED)
    (outcome,) = base.plan(given).finished.values()
    assert outcome.wanted == [NO_SEED]
    assert outcome.result.seeds[NO_SEED].data_version == "v-1"


def test_results_whose_files_are_gone_are_not_taken_up(past: Past) -> None:
    theirs = past.sent(past.item(0, 1))
    past.result(theirs)
    past.made(1)
    plan = past.plan(past.item(0, 1))
    assert [outcome.wanted for outcome in plan.finished.values()] == [[1]]
    assert plan.fresh == [past.item(0)]


def test_results_of_other_inputs_are_not_taken_up(past: Past) -> None:
    past.result(past.sent(past.item(0, 1)))
    past.made(0, 1)
    changed = past.item(0, 1, mask="b")
    assert past.plan(changed) == Plan(fresh=[changed])


@pytest.mark.parametrize("there", [{}, {("array", 0): "17"}])
def test_what_failed_while_no_run_was_there_is_sent_again(past: Past, there: Jobs) -> None:
    theirs = past.sent(past.item(0, 1), job="17")
    past.result(theirs, error="out of memory")
    past.made(0, 1)  # of an earlier attempt
    assert past.plan(theirs, there=there) == Plan(fresh=[theirs])


@pytest.mark.parametrize("content", [None, "", "{", "{}x", '{"seeds": 1}'])
def test_what_ended_without_a_readable_result_is_sent_again(past: Past, content: str | None) -> None:
    theirs = past.sent(past.item(0, 1), job="17")
    past.made(0, 1)
    if content is not None:
        write_text(theirs.folder / "result.json", content)
    assert past.plan(theirs) == Plan(fresh=[theirs])


def test_a_task_still_in_slurm_is_watched_on_for_the_wanted_seeds(past: Past) -> None:
    theirs = past.sent(past.item(0, 1, 2), index=5)  # whose job Slurm names, though the entry does not
    past.made(0, 1, 2)  # of an earlier attempt
    plan = past.plan(past.item(0, 2), past.item(3), there={("array", 5): "17"})
    folder = past.ledger.arrays / "array"
    assert plan == Plan(
        running={theirs.key: Task(theirs, folder, 5, "17", units=(0, 2))}, fresh=[past.item(3)]
    )
    assert plan.running[theirs.key].id == "17_5"


def test_a_task_still_in_slurm_with_old_inputs_is_obsolete_and_its_seeds_are_sent_again(past: Past) -> None:
    theirs = past.sent(past.item(0, 1), index=5, job="17")
    changed = past.item(0, 1, mask="b")
    plan = past.plan(changed, there={("array", 5): "17"})
    task = Task(theirs, past.ledger.arrays / "array", 5, "17", units=(0, 1))
    assert plan == Plan(obsolete={theirs.key: task}, fresh=[changed])


def test_a_task_is_not_ended_for_some_of_its_seeds_and_watched_on_for_others(past: Past) -> None:
    theirs = past.sent(past.item(0, 1), job="17")
    mixed = past.item(0, 1)
    mixed = mixed.model_copy(update={"inputs": {**mixed.inputs, "split_masks/seed=1.parquet": "b"}})
    plan = past.plan(mixed, there={("array", 0): "17"})
    assert list(plan.obsolete) == [theirs.key]
    assert plan.running == {}
    assert plan.fresh == [mixed]


def test_a_pack_of_which_seeds_have_fared_differently(past: Past) -> None:
    theirs = past.sent(past.item(0, 1, 2), "submitted", run=FIRST)
    past.result(theirs)
    past.made(0, 1, 2)
    past.ledger.mark(theirs, "recorded", FIRST, units=[0])
    past.ledger.mark(theirs, "failed", FIRST, units=[2])
    again = past.plan(past.item(0, 1, 2, 3), run=AGAIN)
    assert again.recorded == [0]
    assert [outcome.wanted for outcome in again.finished.values()] == [[1]]
    assert again.fresh == [past.item(2, 3)]
    past.ledger.release()
    other = past.plan(past.item(0, 1, 2, 3), run=OTHER)
    assert other.recorded == []
    assert [outcome.wanted for outcome in other.finished.values()] == [[1]]
    assert other.fresh == [past.item(0, 2, 3)]


def test_orphans_are_open_entries_of_dead_runs_and_claimed_from_then_on(past: Past) -> None:
    past.sent(past.item(0), array="dead")
    past.sent(past.item(1), array="living")
    past.sent(past.item(2), "failed", array="failed")
    past.sent(past.item(3), "recorded", array="recorded")
    assert past.living.claim("living")
    orphans = Planner(past.ledger, OTHER).orphans([past.item(0, 1), past.item(2, 3)])
    assert [entry.array for entry in orphans] == ["dead"]
    assert not past.living.claim("dead")


def test_a_broken_entry_stops_the_run(past: Past) -> None:
    past.sent(past.item(0, 1))
    (past.ledger.folder / "seed=1.json").write_text("{")
    with pytest.raises(ExecutorError, match=r"seed=1.json is no entry of the ledger"):
        past.plan(past.item(0, 1))
