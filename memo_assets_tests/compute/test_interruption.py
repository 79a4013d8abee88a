"""Steps that are asked to stop or killed, and go on in another attempt; called here without a worker."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from memo_assets.compute import forward_steps, steps
from memo_assets.compute import outputs as step_outputs
from memo_assets.compute.items import NO_SEED, WorkItem
from memo_assets.compute.reporting import Results
from memo_assets.config import Study
from memo_assets.store.files import content_hash, replace_folder, write_parquet
from memo_assets.training.interruption import Interrupted, ShouldStop, never
from memo_assets_tests.studies import CITIES, study

from .small_items import item, small_study, write_inputs

SEEDS = [0, 1]


class KilledError(BaseException):
    """Like SIGKILL: nothing of the step's own code runs after it."""


def audited() -> Study:
    return small_study({"shadows.audited": SEEDS})


def compute(given: WorkItem, should_stop: ShouldStop = never) -> Results:
    return steps.STEPS[given.step](given, lambda *_: None, should_stop)


def interrupted(given: WorkItem, after: int = 1) -> Interrupted:
    """Compute an item until it has asked whether to stop some number of times."""
    asked = iter(range(1, 1_000))
    with pytest.raises(Interrupted) as caught:
        compute(given, lambda: next(asked) == after)
    return caught.value


def killing(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A function that kills at one of its calls, counted from 1."""
    calls = iter(range(1, 1_000))

    def called(*args: Any, **settings: Any) -> Any:
        if next(calls) == at:
            raise KilledError
        return function(*args, **settings)

    return called


def outputs(given: WorkItem, seed: int) -> list[Path]:
    layout = given.layout
    if given.step == "logits":
        return [layout.logits(seed)]
    return [layout.layer_scores(seed), layout.layer_summary(seed), layout.weight_norms(seed)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """A warehouse with the adapters of an undisturbed run, and its results."""
    folder = tmp_path_factory.mktemp("warehouse")
    write_inputs(folder, audited())
    return folder, compute(item(folder, audited(), "adapters", SEEDS))


@pytest.fixture(params=["logits", "layer_scores"])
def undisturbed(request: pytest.FixtureRequest, trained: tuple[Path, Results]) -> tuple[WorkItem, Results]:
    """An item of a forward pass and its results; nothing of it is left on disk."""
    given = item(trained[0], audited(), request.param, SEEDS)
    shutil.rmtree(given.folder, ignore_errors=True)
    results = compute(given)
    shutil.rmtree(given.folder)
    for seed in SEEDS:
        for path in outputs(given, seed):
            path.unlink()
    return given, results


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every forward pass of all samples."""
    calls: list[int] = []
    original = forward_steps.forward

    def counted(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        return original(*args, **settings)

    replace_forward(monkeypatch, counted)
    return calls


def replace_forward(patch: pytest.MonkeyPatch, by: Any) -> None:
    """Put another function in the place of the forward pass of both steps."""
    for module in (forward_steps, step_outputs):
        patch.setattr(module, "forward", by)


def assert_same_files(given: WorkItem, found: Results, wanted: Results) -> None:
    assert found == wanted
    for seed in SEEDS:
        assert content_hash(*outputs(given, seed)) == wanted[seed].data_version


def checkpoints_of(given: WorkItem) -> int:
    return 3 if given.step == "logits" else 6  # layer scores are computed seed by seed


def test_a_forward_pass_interrupted_after_every_checkpoint_gives_the_same_files(
    undisturbed: tuple[WorkItem, Results], forwards: list[int]
) -> None:
    given, wanted = undisturbed
    total = checkpoints_of(given)
    for done in range(1, total):
        stop = interrupted(given)
        assert (stop.done, stop.total, stop.unit, stop.began) == (done, total, "checkpoints", done - 1)
        assert len(forwards) == done
    assert_same_files(given, compute(given, lambda: True), wanted)
    assert len(forwards) == total


@pytest.mark.parametrize("at", [1, 3])
def test_a_forward_pass_killed_in_between_computes_only_what_is_missing(
    undisturbed: tuple[WorkItem, Results],
    forwards: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at: int,
) -> None:
    given, wanted = undisturbed
    with monkeypatch.context() as patch:
        replace_forward(patch, killing(forward_steps.forward, at))
        with pytest.raises(KilledError):
            compute(given)
    capsys.readouterr()
    progress: list[tuple[int, int, str]] = []
    found = steps.STEPS[given.step](given, lambda *seen: progress.append(seen), never)
    assert_same_files(given, found, wanted)
    total = checkpoints_of(given)
    assert len(forwards) == total
    assert progress == [(done, total, "checkpoints") for done in range(at, total + 1)]
    lines = capsys.readouterr().out.splitlines()
    resumed = [f"seeds 0 to 1 (2): resumed with {at - 1} of {total} checkpoints done"] if at > 1 else []
    assert lines == [
        *resumed,
        *(f"seeds 0 to 1 (2): checkpoint {done} of {total} done" for done in range(at, total + 1)),
    ]


@pytest.mark.parametrize("at", [2, 4, None])
def test_a_checkpoint_counts_only_when_all_its_parts_are_written(
    undisturbed: tuple[WorkItem, Results],
    forwards: list[int],
    monkeypatch: pytest.MonkeyPatch,
    at: int | None,
) -> None:
    given, wanted = undisturbed
    # Six parts of logits, nine of the first seed's layer scores: this file joins parts that are all there.
    joining = {"logits": 8, "layer_scores": 11}[given.step]
    with monkeypatch.context() as patch:
        patch.setattr(forward_steps, "write_parquet", killing(forward_steps.write_parquet, at or joining))
        with pytest.raises(KilledError):
            compute(given)
    assert_same_files(given, compute(given), wanted)
    again = 0 if at is None else 1
    assert len(forwards) == checkpoints_of(given) + again


def test_a_damaged_part_is_computed_again(undisturbed: tuple[WorkItem, Results], forwards: list[int]) -> None:
    given, wanted = undisturbed
    interrupted(given, after=2)
    part = min((given.folder / "state").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    assert_same_files(given, compute(given), wanted)
    assert len(forwards) == checkpoints_of(given) + 1


def adapters_of(warehouse: Path) -> WorkItem:
    write_inputs(warehouse, audited())
    return item(warehouse, audited(), "adapters", SEEDS)


def test_training_interrupted_after_every_step_gives_the_same_files_and_logs(
    trained: tuple[Path, Results], warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = adapters_of(warehouse)
    for done in range(1, 10):
        stop = interrupted(given)
        assert (stop.done, stop.total, stop.unit, stop.began) == (done, 10, "steps", done - 1)
    assert compute(given) == trained[1]
    for seed in SEEDS:
        log = given.layout.training_log(seed)
        assert log.read_bytes() == (trained[0] / log.relative_to(warehouse)).read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "seeds 0 to 1 (2): epoch 0, step 0 of 10",
        "seeds 0 to 1 (2): resumed at step 1 of 10",
    ]
    assert lines[-2] == "seeds 0 to 1 (2): resumed at step 9 of 10"
    assert lines[-1].startswith("seeds 0 to 1 (2): epoch 2, step 10 of 10, mean training loss 2.")


@pytest.mark.parametrize("when", ["in training", "while folders are moved"])
def test_a_damaged_state_is_removed_and_training_starts_anew(
    trained: tuple[Path, Results],
    warehouse: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    when: str,
) -> None:
    given = adapters_of(warehouse)
    if when == "in training":
        interrupted(given, after=7)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(steps, "replace_folder", killing(replace_folder, 2))
            with pytest.raises(KilledError):
                compute(given)
        moved = given.layout.adapter(SEEDS[0], 2) / "model.safetensors"
        moved.write_bytes(b"broken")  # what an attempt without a state has left is not trusted
    state = given.folder / "state" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    capsys.readouterr()
    assert compute(given) == trained[1]
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"{state} is damaged and removed: training starts anew",
        "seeds 0 to 1 (2): epoch 0, step 0 of 10",
    ]


@pytest.mark.slow
def test_interrupted_pretraining_leaves_nothing_and_starts_anew(warehouse: Path) -> None:
    changes = {"model.hidden": 16, "model.heads": 2, "model.layers": 1, "model.batch_size": 2}
    given = item(warehouse, study(CITIES, changes), "base_model", [])
    names = pd.DataFrame({"text": ["Alba", "Bela", "Cora", "Dora"], "label": ["x", "y", "x", "y"]})
    write_parquet(given.layout.background, pa.Table.from_pandas(names))
    stop = interrupted(given)
    assert (stop.done, stop.total, stop.unit, stop.began, stop.progressed) == (1, 2, "steps", 0, False)
    assert list(given.layout.base_models.iterdir()) == []
    assert not given.layout.base_model.exists()
    results = compute(given)
    assert results[NO_SEED].facts == {"cached": False}
    assert given.layout.base_model.is_file()
