"""The executor of this machine, with real worker processes."""

import platform
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.compute import local
from memo_assets.compute.items import ItemResult, Progress, WorkItem, seeds_in_words
from memo_assets.compute.ledger import Entry, RunName
from memo_assets.compute.local import LocalExecutor
from memo_assets.compute.outcomes import Outcome, Silent, Watcher
from memo_assets.store.files import content_hash, read_json
from memo_assets.store.layout import Layout

from .helpers import Seen, another_worker, runs, tasks
from .small_items import ENDLESS, item, small_study, write_inputs

Started = list[local._Worker]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The workers that a test starts."""
    workers: Started = []
    start = local._start

    def recorded(threads: int, modules: Sequence[str]) -> local._Worker:
        workers.append(start(threads, modules))
        return workers[-1]

    monkeypatch.setattr(local, "_start", recorded)
    return workers


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    made = LocalExecutor()
    yield made
    made.close()


def stale(warehouse: Path, seed: int, changes: dict | None = None) -> WorkItem:
    """An item that a worker refuses at once."""
    return item(warehouse, small_study(changes), "adapters", [seed], code_version="of yesterday")


def run(
    executor: LocalExecutor, items: Sequence[WorkItem], watcher: Watcher | None = None
) -> Generator[Outcome]:
    """Outcomes of items, sent as one array."""
    return executor.watch(tasks(items), watcher or Silent())


Trained = tuple[Path, LocalExecutor, list[Outcome], Seen]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Adapters of all four models in two packs side by side."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    study = small_study({"compute.workers": 2})
    write_inputs(warehouse, study)
    seen = Seen()
    items = [item(warehouse, study, "adapters", seeds) for seeds in ([0, 1], [2, 3])]
    executor = LocalExecutor()
    outcomes = list(run(executor, items, seen))
    yield warehouse, executor, outcomes, seen
    executor.close()


def test_training_in_packs(trained: Trained) -> None:
    warehouse, _, outcomes, seen = trained
    layout = Layout(warehouse, "tiny")
    assert [outcome.result.error for outcome in outcomes] == [None, None]
    assert sorted(outcome.item.seeds for outcome in outcomes) == [[0, 1], [2, 3]]
    for outcome in outcomes:
        assert set(outcome.result.seeds) == set(outcome.item.seeds)
        assert outcome.result.seconds > 0
        assert outcome.result.peak_memory_bytes > 10_000_000
        assert outcome.result.host == platform.node()
        assert (outcome.result.job, outcome.result.gpus, outcome.result.attempts) == (None, 0, 1)
        assert seen.progress[outcome.item.key][-1] == Progress(done=10, total=10, unit="steps")
        left = {path.name for path in outcome.item.folder.iterdir()}
        assert left == {"item.json", "log.txt", "progress.json", "result.json"}
        for seed, result in outcome.result.seeds.items():
            assert result.data_version == content_hash(*(layout.adapter(seed, epoch) for epoch in (0, 1, 2)))
            seeds = seeds_in_words(outcome.item.seeds)
            assert result.facts["training"] == f"10 steps on 40 samples; pack of {seeds}"
            log = read_json(layout.training_log(seed))["checkpoints"]
            assert [(entry["epoch"], entry["step"]) for entry in log] == [(0, 0), (1, 5), (2, 10)]
            assert log[0]["train_loss_mean"] is None
    versions = {result.data_version for outcome in outcomes for result in outcome.result.seeds.values()}
    assert len(versions) == 4


def test_forward_passes_and_layer_scores(trained: Trained, started: Started) -> None:
    warehouse, executor, _, _ = trained
    layout, study = Layout(warehouse, "tiny"), small_study()
    first, second = run(
        executor,
        [item(warehouse, study, "logits", [0, 1, 2, 3]), item(warehouse, study, "layer_scores", [1])],
    )
    assert started == []  # the workers that trained were idle
    by_step = {outcome.item.step: outcome.result for outcome in (first, second)}
    assert by_step["logits"].error is None
    assert by_step["layer_scores"].error is None
    for seed, result in by_step["logits"].seeds.items():
        rows = pd.read_parquet(layout.logits(seed))
        assert result.data_version == content_hash(layout.logits(seed))
        assert result.facts["rows"] == len(rows) == 3 * 90
        assert set(rows["split_seed"]) == {seed}
        assert rows.groupby("epoch")["sample_id"].apply(list).to_list() == [list(range(90))] * 3
        # Loss and gap follow from the option logits and the given label: a vision network has no other outputs.
        samples = pd.read_parquet(layout.samples)
        given = np.tile(samples["given_index"].to_numpy(), 3)
        logits = np.stack(rows["option_logits"].to_list()).astype(np.float64)
        picked = logits[np.arange(len(rows)), given]
        others = np.where(np.arange(10) == given[:, None], -np.inf, logits).max(axis=1)
        np.testing.assert_allclose(rows["loss"], np.log(np.exp(logits).sum(axis=1)) - picked, atol=1e-5)
        np.testing.assert_allclose(rows["logit_gap"], picked - others, atol=1e-5)
        test = (rows["epoch"] == 2) & np.tile(samples["part"] == "test", 3)
        assert result.facts["test_accuracy"] == pytest.approx((rows["logit_gap"][test] > 0).mean())
    scores = pd.read_parquet(layout.layer_scores(1))
    mask = pd.read_parquet(layout.split_mask(1))["sample_id"]
    assert scores.groupby(["epoch", "layer"])["sample_id"].apply(list).to_list() == [sorted(mask)] * (3 * 2)
    assert np.isfinite(scores.to_numpy(dtype=float)).all()
    assert len(pd.read_parquet(layout.layer_summary(1))) == 3 * 2


def test_refusals_are_outcomes_and_one_worker_takes_item_after_item(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    items = [stale(warehouse, seed, {"compute.workers": 1}) for seed in range(3)]
    outcomes = list(run(executor, items))
    for given, outcome in zip(items, outcomes, strict=True):
        assert outcome.item == given
        assert outcome.result.error is not None
        assert outcome.result.error.startswith("this worker runs code version ")
        assert "StaleItemError" in outcome.log_end
    assert len(started) == 1
    assert started[0].process.poll() is None
    executor.close()
    assert started[0].process.returncode is not None


def test_no_more_workers_run_than_the_study_says(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    items = [stale(warehouse, seed, {"compute.workers": 2}) for seed in range(4)]
    assert len(list(run(executor, items))) == 4
    assert len(started) == 2


def test_workers_started_ahead_are_used(warehouse: Path, executor: LocalExecutor, started: Started) -> None:
    executor.warm_up(small_study({"compute.workers": 2}))
    assert len(started) == 2
    list(run(executor, [stale(warehouse, 0)]))
    assert len(started) == 2


def test_a_worker_with_other_threads_is_not_used(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    list(run(executor, [stale(warehouse, 0)]))
    list(run(executor, [stale(warehouse, 0, {"compute.threads": 2})]))
    assert [worker.threads for worker in started] == [1, 2]


def test_an_item_that_another_worker_has_is_an_error(warehouse: Path, executor: LocalExecutor) -> None:
    given = stale(warehouse, 0)
    list(run(executor, [given]))
    assert (given.folder / "result.json").is_file()  # a result of an earlier attempt does not count
    with another_worker(given):
        (outcome,) = run(executor, [given])
    assert outcome.result.error == (
        "another worker is computing tiny/adapters, seed 0 right now: wait for it or end it"
    )
    assert outcome.log_end.endswith(
        "another worker is computing tiny/adapters, seed 0 right now; wait for it or end it"
    )


def test_the_log_end_is_short_and_readable(warehouse: Path) -> None:
    given = stale(warehouse, 0)
    given.folder.mkdir(parents=True)
    log = given.folder / "log.txt"
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % number for number in range(30)))
    outcome = Outcome(given, ItemResult(), log)
    assert outcome.log_end.splitlines() == [f"line {number}" for number in range(15, 30)]
    assert Outcome(given, ItemResult(), given.folder / "nothing.txt").log_end == ""


def test_a_killed_worker_is_an_outcome_that_names_the_signal_and_another_goes_on(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study(ENDLESS)
    write_inputs(warehouse, study)

    class Killing(Seen):
        def on_progress(self, item: WorkItem, progress: Progress) -> None:
            assert progress.total == 5_000_000
            with (item.folder / "log.txt").open("a") as log:
                log.write("half a li")
            started[0].process.kill()

    seen = Killing()
    (outcome,) = run(executor, [item(warehouse, study, "adapters", [0])], seen)
    assert started[0].process.returncode == -signal.SIGKILL
    assert outcome.result.error == "the worker was killed by signal 9 and left no result"
    assert outcome.result.seeds == {}
    assert seen.logs[outcome.item.key][-1].endswith("half a li")
    (after,) = run(executor, [stale(warehouse, 0)])
    assert after.result.error is not None
    assert after.result.error.startswith("this worker runs code version ")
    assert len(started) == 2


def test_closing_the_iterator_ends_running_workers(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study({**ENDLESS, "compute.workers": 2})
    write_inputs(warehouse, study)
    items = [item(warehouse, study, "adapters", [0]), stale(warehouse, 1), stale(warehouse, 2)]
    outcomes = run(executor, items)
    assert next(outcomes).item.seeds == [1]
    endless = started[0]
    assert endless.item == items[0]
    assert endless.process.poll() is None
    outcomes.close()
    assert endless.process.returncode == -signal.SIGTERM
    assert not (items[2].folder / "log.txt").exists()


# Ignored as in a run that a shell put into the background: workers would inherit that.
@pytest.mark.parametrize("of_run", [signal.SIG_DFL, signal.SIG_IGN])
def test_an_error_of_the_watcher_ends_running_workers(
    of_run: signal.Handlers, warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study(ENDLESS)
    write_inputs(warehouse, study)

    class Interrupting(Seen):
        def on_progress(self, item: WorkItem, progress: Progress) -> None:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, of_run)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run(executor, [item(warehouse, study, "adapters", [0])], Interrupting()))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].process.returncode == -signal.SIGTERM


def test_idle_workers_end_with_the_process_that_started_them(warehouse: Path) -> None:
    given = stale(warehouse, 0)
    script = (
        "import sys; from memo_assets.compute.items import WorkItem; from memo_assets.compute.local import LocalExecutor; "
        "from memo_assets.compute.outcomes import Silent; from memo_assets_tests.compute.helpers import tasks; "
        "executor = LocalExecutor(); "
        "list(executor.watch(tasks([WorkItem.model_validate_json(sys.argv[1])]), Silent())); "
        "print(executor._workers[0].process.pid)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, given.model_dump_json()]
    worker = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    until = time.monotonic() + 60
    while runs(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not runs(worker)


def test_the_watcher_is_told_every_line_of_the_log(trained: Trained) -> None:
    _, _, outcomes, seen = trained
    for outcome in outcomes:
        log = outcome.item.folder / "log.txt"
        assert outcome.log == log
        told = "\n".join(seen.logs[outcome.item.key])
        assert f"{told}\n" == log.read_text()
        assert told.startswith(f"{outcome.item}: on {platform.node()}, process ")
        assert "epoch 2, step 10 of 10" in told.splitlines()[-1]


def test_the_watcher_is_not_told_what_an_earlier_attempt_logged(
    warehouse: Path, executor: LocalExecutor
) -> None:
    given, seen = stale(warehouse, 0), Seen()
    given.folder.mkdir(parents=True)
    (given.folder / "log.txt").write_text("an earlier attempt\n")
    (outcome,) = run(executor, [given], seen)
    assert outcome.log_end.startswith("an earlier attempt\n")
    told = "\n".join(seen.logs[given.key])
    assert "StaleItemError" in told
    assert "an earlier attempt" not in told


def test_what_is_sent_is_told_and_nothing_starts_before_it_is_watched(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    seen = Seen()
    given = tasks([item(warehouse, small_study(), "adapters", seeds) for seeds in ([0, 1], [2, 3])])
    assert executor.submit(given, seen) == given
    assert seen.states == ["2 work items, 4 split seeds, on this machine"]
    assert started == []


def test_where_slurm_is_not_installed_nothing_of_a_dead_run_is_still_there(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run_name = RunName(id="dead", root="dead")
    local_entry = Entry(
        unit_key="k", item="i", state="claimed", executor="local", array="a", index=0, run=run_name
    )
    sent = local_entry.model_copy(update={"executor": "slurm", "state": "submitted", "job": "17"})
    assert executor.still_there([local_entry, sent], Silent()) == {}
