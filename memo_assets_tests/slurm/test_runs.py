"""Runs that die, come back, or meet: work is taken up where it is, sent once, and written by one worker only."""

import subprocess
import sys
import time
from contextlib import closing

import pytest

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.items import WorkItem
from memo_assets.compute.ledger import RunName
from memo_assets.compute.local import LocalExecutor
from memo_assets.store.files import read_json, write_json
from memo_assets_tests.compute.small_items import item
from memo_assets_tests.slurm.conftest import LONG, Lab, Seen

pytestmark = pytest.mark.slow

# A run that sends items to Slurm, says when they train, and is then killed.
DRIVER = """
import sys
from pathlib import Path
from memo_assets.compute.dispatch import Dispatch
from memo_assets.compute.items import WorkItem
from memo_assets.compute.ledger import Ledger, RunName
from memo_assets.compute.slurm.executor import SlurmExecutor
from memo_assets_tests.slurm.conftest import Seen

items = [WorkItem.model_validate_json(line) for line in Path(sys.argv[1]).read_text().splitlines()]
seen = Seen()
seen.when_training = lambda item: print("training", item, flush=True)
ledger = Ledger(items[0].layout, items[0].step)
for outcome in Dispatch(SlurmExecutor(), ledger, RunName(id="dead", root="dead"), seen).outcomes(items):
    print("ended", flush=True)
"""


def killed_run(lab: Lab, items: list[WorkItem]) -> None:
    """A run of these items that is killed with -9 once all of them train."""
    path = lab.warehouse / "items.txt"
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in items))
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in items:
            assert process.stdout.readline().startswith("training")
        process.kill()


def test_tasks_of_a_killed_run_are_watched_on_and_sent_once(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    killed_run(lab, items)
    before = lab.living()
    assert len(before) == 2

    seen = Seen()
    # Another range than the dead run's: some seeds of its tasks are not wanted.
    outcomes = lab.run(lab.items(study, [1, 2], [3]), seen)
    assert seen.arrays() == []
    assert {outcome.result.job for outcome in outcomes.values()} == set(before)
    assert set(outcomes) == {(1,), (2, 3)}
    assert lab.trained() == [0, 1, 2, 3]


def test_results_of_a_killed_run_are_taken_up_without_slurm_knowing_them_any_more(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    killed_run(lab, items)
    lab.wait_until(lambda: not lab.living(), 240)
    seen = Seen()
    outcomes = lab.run(items, seen)
    assert all(outcome.result.error is None for outcome in outcomes.values())
    assert seen.arrays() == []
    assert seen.said.count("finished while no run was there, taken up") == 2


def test_a_submission_cut_short_is_found_by_its_name(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1], [2, 3])
    killed_run(lab, items)
    ledger = lab.ledger
    for seed in range(4):  # as if the run had been killed between sbatch's answer and its note of it
        entry = ledger.read(seed)
        assert entry is not None
        ledger.write({seed: entry.model_copy(update={"state": "claimed", "job": None})})
    before = lab.living()
    seen = Seen()
    outcomes = lab.run(items, seen)
    assert seen.arrays() == []
    assert {outcome.result.job for outcome in outcomes.values()} == set(before)


def test_a_second_run_leaves_seeds_to_the_first_and_says_so(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    first, second = Seen(), Seen()
    with closing(lab.outcomes(lab.items(study, [0, 1]), first)) as running:
        # The generator begins with the first call of next, so the second run is started by what the first tells.
        results = {}
        first.when_training = lambda _: results.update(lab.run(lab.items(study, [1, 2], [3]), second))
        outcome = next(running)
        assert outcome.result.error is None
    (job,) = first.arrays()
    assert results[1,].result.error == (
        f"tiny/adapters, seed 1 is being computed by run run-1, Slurm job {job}_0: wait for that run, or cancel it and "
        "materialize again"
    )
    assert results[2,].result.error is None
    assert results[3,].result.error is None
    assert lab.trained() == [0, 1, 2, 3]


def test_ending_a_run_cancels_its_tasks_and_keeps_what_is_finished(lab: Lab) -> None:
    study = lab.study(LONG, **{"compute.slurm.parallel": 1})
    lab.inputs(study)
    with closing(lab.outcomes(lab.items(study, [0], [1], [2], [3]), Seen())) as outcomes:
        assert next(outcomes).wanted == [0]
        lab.wait_until(lambda: len(lab.living()) == 3)
    lab.wait_until(lambda: not lab.living())
    assert lab.trained() == [0]
    assert lab.run(lab.items(study, [1]))[1,].result.error is None


def test_tasks_with_old_settings_are_cancelled_before_new_ones_start(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    killed_run(lab, lab.items(study, [0, 1]))
    (old,) = lab.living()
    changed = lab.study(LONG, **{"training.learning_rate": 0.02})
    seen = Seen()
    outcomes = lab.run(lab.items(changed, [0, 1]), seen)
    assert f"Slurm job {old} works with old settings, cancelled" in seen.said
    assert outcomes[0, 1].result.error is None
    assert outcomes[0, 1].result.job != old
    assert read_json(lab.layout.training_log(0))["item"] == lab.items(changed, [0, 1])[0].key


def test_the_executor_of_this_machine_does_not_write_beside_slurm(lab: Lab) -> None:
    study = lab.study(LONG)
    lab.inputs(study)
    items = lab.items(study, [0, 1])
    killed_run(lab, items)
    (task,) = lab.living()
    with closing(LocalExecutor()) as local, pytest.raises(ExecutorError) as refused:
        list(lab.outcomes(items, Seen(), by=local))
    assert str(refused.value) == (
        f"Slurm was given these seeds by an earlier run, and still has {task}: set MEMO_EXECUTOR=slurm to go on with them, "
        "or end them with scancel first"
    )
    assert lab.run(items)[0, 1].result.error is None


def test_seeds_are_recorded_once_and_a_run_executed_again_skips_them(lab: Lab) -> None:
    study = lab.study()
    lab.inputs(study)
    first = RunName(id="first", root="first")
    for outcome in lab.outcomes(lab.items(study, [0, 1]), Seen(), run=first):
        lab.ledger.mark(outcome.item, "recorded", first)
    again, seen = RunName(id="second", root="first"), Seen()
    outcomes = list(lab.outcomes(lab.items(study, [0, 1], [2, 3]), seen, run=again))
    assert [outcome.wanted for outcome in outcomes] == [[2, 3]]
    assert "tiny/adapters: seeds 0 to 1 (2) recorded by the run that is executed again" in seen.said
    # Another run that asks for all of them means it.
    assert set(lab.run(lab.items(study, [0, 1]))) == {(0, 1)}


def test_one_array_holds_all_packs_and_each_outcome_says_where_it_ran(lab: Lab) -> None:
    study = lab.study(**{"shadows.models": 10})
    lab.inputs(study)
    seen = Seen()
    outcomes = lab.run(lab.items(study, [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]), seen)
    (job,) = seen.arrays()
    assert {outcome.result.job for outcome in outcomes.values()} == {f"{job}_{index}" for index in range(3)}
    for outcome in outcomes.values():
        result = outcome.result
        assert result.error is None
        assert result.gpus == 1
        assert result.attempts == 1
        assert result.seconds > 0
        assert result.peak_memory_bytes > 10_000_000
        assert result.host
    assert f"Slurm array {job}: " in seen.said
    assert not list(lab.warehouse.rglob("*.pkl"))  # submitit's way, which is not ours
    assert any(
        line.startswith("adapters, seeds 4 to 7 (4): adapters, seeds 4 to 7 (4): task ") for line in seen.logs
    )


def test_a_broken_entry_of_the_ledger_is_named_with_a_way_out(lab: Lab) -> None:
    study = lab.study()
    lab.inputs(study)
    path = lab.ledger.folder / "seed=1.json"
    write_json(path, {"unit_key": "x"})
    with pytest.raises(
        ExecutorError, match=r"seed=1\.json is no entry of the ledger .*squeue --me.*remove the file"
    ):
        lab.run(lab.items(study, [0, 1]))
    path.unlink()
    assert lab.run(lab.items(study, [0, 1]))[0, 1].result.error is None


def test_the_logits_of_the_adapters_run_on_slurm_too(lab: Lab) -> None:
    study = lab.study()
    lab.inputs(study)
    lab.run(lab.items(study, [0, 1, 2, 3]))
    for step in ("logits", "layer_scores"):
        seeds = [1] if step == "layer_scores" else [0, 1, 2, 3]
        given = item(lab.warehouse, study, step, seeds)
        started = time.monotonic()
        outcomes = lab.run([given])
        assert outcomes[tuple(seeds)].result.error is None, time.monotonic() - started
    assert lab.layout.logits(3).is_file()
    assert lab.layout.layer_scores(1).is_file()


def test_a_run_inside_another_job_does_not_hand_down_its_limits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With both of these in its environment srun refuses to start a task.
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "500")
    monkeypatch.setenv("SLURM_MEM_PER_GPU", "500")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    study = lab.study()
    lab.inputs(study)
    assert lab.run(lab.items(study, [0, 1]))[0, 1].result.error is None
