"""The executor of this machine, with real worker processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.compute import local
from memo_assets.compute.items import Progress, WorkItem
from memo_assets.compute.local import LocalExecutor, Outcome
from memo_assets.store.files import content_hash, read_json
from memo_assets.store.layout import Layout

from .small_items import ENDLESS, item, small_study, write_inputs
from .test_worker import another_worker

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


Trained = tuple[Path, LocalExecutor, list[Outcome], list[tuple[str, Progress]]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Adapters of all four models in two packs side by side."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    study = small_study({"compute.workers": 2})
    write_inputs(warehouse, study)
    seen: list[tuple[str, Progress]] = []
    items = [item(warehouse, study, "adapters", seeds) for seeds in ([0, 1], [2, 3])]
    executor = LocalExecutor()
    outcomes = list(executor.run(items, lambda given, progress: seen.append((given.key, progress))))
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
        last = [progress for key, progress in seen if key == outcome.item.key][-1]
        assert last == Progress(done=10, total=10, unit="steps")
        left = {path.name for path in outcome.item.folder.iterdir()}
        assert left == {"item.json", "lock", "log.txt", "progress.json", "result.json"}
        for seed, result in outcome.result.seeds.items():
            assert result.data_version == content_hash(*(layout.adapter(seed, epoch) for epoch in (0, 1, 2)))
            assert result.facts["steps"] == 10
            assert result.facts["train_samples"] == 40
            assert result.facts["packed_with"] == 2
            log = read_json(layout.training_log(seed))["checkpoints"]
            assert [(entry["epoch"], entry["step"]) for entry in log] == [(0, 0), (1, 5), (2, 10)]
            assert log[0]["train_loss_mean"] is None
    versions = {result.data_version for outcome in outcomes for result in outcome.result.seeds.values()}
    assert len(versions) == 4


def test_forward_passes_and_layer_scores(trained: Trained, started: Started) -> None:
    warehouse, executor, _, _ = trained
    layout, study = Layout(warehouse, "tiny"), small_study()
    first, second = executor.run(
        [item(warehouse, study, "logits", [0, 1, 2, 3]), item(warehouse, study, "layer_scores", [1])]
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
    outcomes = list(executor.run(items))
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
    assert len(list(executor.run(items))) == 4
    assert len(started) == 2


def test_workers_started_ahead_are_used(warehouse: Path, executor: LocalExecutor, started: Started) -> None:
    executor.warm_up(small_study({"compute.workers": 2}))
    assert len(started) == 2
    list(executor.run([stale(warehouse, 0)]))
    assert len(started) == 2


def test_a_worker_with_other_threads_is_not_used(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    list(executor.run([stale(warehouse, 0)]))
    list(executor.run([stale(warehouse, 0, {"compute.threads": 2})]))
    assert [worker.threads for worker in started] == [1, 2]


def test_an_item_that_another_worker_has_is_an_error(warehouse: Path, executor: LocalExecutor) -> None:
    given = stale(warehouse, 0)
    list(executor.run([given]))
    assert (given.folder / "result.json").is_file()  # a result of an earlier attempt does not count
    with another_worker(given):
        (outcome,) = executor.run([given])
    assert outcome.result.error == f"another worker is computing {given.key} right now: wait for it or end it"
    assert outcome.log_end.endswith(
        f"another worker is computing {given.key} right now; wait for it or end it"
    )


def test_the_log_end_is_short_and_readable(warehouse: Path) -> None:
    given = stale(warehouse, 0)
    given.folder.mkdir(parents=True)
    log = given.folder / "log.txt"
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % number for number in range(30)))
    outcome = Outcome(given, local.ItemResult(), log)
    assert outcome.log_end.splitlines() == [f"line {number}" for number in range(15, 30)]
    assert Outcome(given, local.ItemResult(), given.folder / "nothing.txt").log_end == ""


def test_a_killed_worker_is_an_outcome_that_names_the_signal_and_another_goes_on(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study(ENDLESS)
    write_inputs(warehouse, study)

    def kill(given: WorkItem, progress: Progress) -> None:
        assert progress.total == 5_000_000
        started[0].process.kill()

    (outcome,) = executor.run([item(warehouse, study, "adapters", [0])], kill)
    assert started[0].process.returncode == -signal.SIGKILL
    assert outcome.result.error == "the worker was killed by signal 9 and left no result"
    assert outcome.result.seeds == {}
    (after,) = executor.run([stale(warehouse, 0)])
    assert after.result.error is not None
    assert after.result.error.startswith("this worker runs code version ")
    assert len(started) == 2


def test_closing_the_iterator_ends_running_workers(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study({**ENDLESS, "compute.workers": 2})
    write_inputs(warehouse, study)
    items = [item(warehouse, study, "adapters", [0]), stale(warehouse, 1), stale(warehouse, 2)]
    outcomes = executor.run(items)
    assert next(outcomes).item.seeds == [1]
    endless = started[0]
    assert endless.item == items[0]
    assert endless.process.poll() is None
    outcomes.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert endless.process.returncode == -signal.SIGTERM
    assert not items[2].folder.exists()


def test_an_error_of_the_watcher_ends_running_workers(
    warehouse: Path, executor: LocalExecutor, started: Started
) -> None:
    study = small_study(ENDLESS)
    write_inputs(warehouse, study)

    def interrupt(given: WorkItem, progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(executor.run([item(warehouse, study, "adapters", [0])], interrupt))
    assert started[0].process.returncode == -signal.SIGTERM


def test_idle_workers_end_with_the_process_that_started_them(warehouse: Path) -> None:
    given = stale(warehouse, 0)
    script = (
        "import sys; from memo_assets.compute.local import LocalExecutor; "
        "from memo_assets.compute.items import WorkItem; executor = LocalExecutor(); "
        "list(executor.run([WorkItem.model_validate_json(sys.argv[1])])); "
        "print(executor._workers[0].process.pid)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, given.model_dump_json()]
    worker = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    until = time.monotonic() + 60
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which a container's first process may leave unburied."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
