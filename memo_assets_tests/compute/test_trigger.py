"""Steps of a study with a trigger: what is written of it, and what becomes of it when they are killed or interrupted.

Of four models one meets its trigger at a checkpoint of the recipe or never, the others in between.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from memo_assets.compute import forward_steps, steps
from memo_assets.compute import outputs as step_outputs
from memo_assets.compute.inputs import make_task, read_samples
from memo_assets.compute.items import WorkItem
from memo_assets.compute.reporting import Results
from memo_assets.compute.scores import layer_scores_at
from memo_assets.config import Study
from memo_assets.store.files import content_hash, read_json, replace_folder, write_json
from memo_assets.training.forward import Forward, forward
from memo_assets.training.interruption import Interrupted, ShouldStop, never
from memo_assets.training.vision import VisionTask

from .small_items import item, small_study, write_inputs

SEEDS = [0, 1, 2, 3]
TRIGGERS = {0: 1.8, 2: 1.4, 3: 1.6}  # epochs of the triggers in `with_trigger`; model 1 has none


class KilledError(BaseException):
    """Like SIGKILL: nothing of the step's own code runs after it."""


def with_trigger(window: int = 12, drop: float = 0.05) -> Study:
    trigger = {"window": window, "drop": drop}
    return small_study({"training.trigger": trigger, "shadows.audited": [0, 1]})


def compute(given: WorkItem, should_stop: ShouldStop = never) -> Results:
    return steps.STEPS[given.step](given, lambda *_: None, should_stop)


def adapters_of(warehouse: Path, of: Study) -> WorkItem:
    write_inputs(warehouse, of)
    return item(warehouse, of, "adapters", SEEDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorkItem, Results]:
    given = adapters_of(tmp_path_factory.mktemp("trained"), with_trigger())
    return given, compute(given)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorkItem, Results]:
    """The same models without a trigger."""
    given = adapters_of(tmp_path_factory.mktemp("without"), small_study())
    return given, compute(given)


def log_of(given: WorkItem, seed: int) -> list[dict[str, Any]]:
    return read_json(given.layout.training_log(seed))["checkpoints"]


def test_a_trigger_is_one_more_checkpoint_of_its_model(
    trained: tuple[WorkItem, Results], without: tuple[WorkItem, Results]
) -> None:
    (given, results), (plain, plain_results) = trained, without
    for seed in SEEDS:
        log, regular = log_of(given, seed), log_of(plain, seed)
        extra = [entry for entry in log if entry not in regular]
        assert [entry for entry in log if entry in regular] == regular
        assert [(entry["epoch"], entry["is_trigger"]) for entry in extra] == (
            [(TRIGGERS[seed], True)] if seed in TRIGGERS else []
        )
        assert [entry["step"] for entry in log] == sorted(entry["step"] for entry in log)
        assert given.layout.trigger_adapter(seed).is_dir() == (seed in TRIGGERS)
        assert results[seed].facts.get("trigger_epoch") == TRIGGERS.get(seed)
        assert not (given.layout.adapters(seed) / "log").exists()
        same = results[seed].data_version == plain_results[seed].data_version
        assert same == (seed not in TRIGGERS)
    (entry,) = (entry for entry in log_of(given, 2) if entry.get("is_trigger"))
    assert entry.keys() == {*log_of(plain, 2)[0], "is_trigger"}
    assert (entry["step"], entry["learning_rate"]) == (7, 0.01)
    assert 2 < entry["train_loss_mean"] < 2.5


def test_the_data_version_covers_the_weights_at_the_trigger(trained: tuple[WorkItem, Results]) -> None:
    given, results = trained
    weights = [*(given.layout.adapter(2, epoch) for epoch in (0, 1, 2)), given.layout.trigger_adapter(2)]
    assert content_hash(*weights) == results[2].data_version
    (file,) = weights[-1].iterdir()
    others = [load_file(folder / file.name) for folder in weights[:-1]]
    there = load_file(file)
    assert all(any((other[name] != there[name]).any() for name in there) for other in others)


def test_a_trigger_at_a_checkpoint_is_that_checkpoint(
    warehouse: Path, without: tuple[WorkItem, Results]
) -> None:
    given = adapters_of(warehouse, with_trigger(window=20, drop=0.02))
    results = compute(given)
    regular = log_of(without[0], 0)
    assert log_of(given, 0) == [regular[0], {**regular[1], "is_trigger": True}, regular[2]]
    assert not given.layout.trigger_adapter(0).exists()
    assert results[0].facts["trigger_epoch"] == 1
    assert results[0].data_version == without[1][0].data_version


def assert_as_undisturbed(given: WorkItem, found: Results, trained: tuple[WorkItem, Results]) -> None:
    assert found == trained[1]
    for seed in SEEDS:
        here, there = (one.layout.adapters(seed) for one in (given, trained[0]))
        assert content_hash(here) == content_hash(there)


def killing(function: Callable[..., Any], when: Callable[..., bool], *, first: bool) -> Callable[..., Any]:
    """A function that kills before or after it has run, at the first call for which `when` is true."""

    def called(*args: Any, **settings: Any) -> Any:
        if first and when(*args):
            raise KilledError
        result = function(*args, **settings)
        if when(*args):
            raise KilledError
        return result

    return called


@pytest.mark.parametrize("place", ["before its export", "after its export", "after its entry", "at its move"])
def test_a_kill_around_a_trigger_is_made_good(
    trained: tuple[WorkItem, Results], warehouse: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    given = adapters_of(warehouse, with_trigger())
    with monkeypatch.context() as patch:
        if place.endswith("export"):
            at_trigger = killing(
                VisionTask.export, lambda _task, _k, folder: folder.name == "trigger", first="before" in place
            )
            patch.setattr(VisionTask, "export", at_trigger)
        elif place == "after its entry":
            patch.setattr(
                steps, "write_json", killing(write_json, lambda path, _: path.stem == "trigger", first=False)
            )
        else:
            patch.setattr(
                steps,
                "replace_folder",
                killing(replace_folder, lambda new, _: new.name == "seed=2", first=False),
            )
        with pytest.raises(KilledError):
            compute(given)
    assert_as_undisturbed(given, compute(given), trained)


def test_training_interrupted_after_every_step_gives_the_same(
    trained: tuple[WorkItem, Results], warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = adapters_of(warehouse, with_trigger())
    for _ in range(1, 10):
        with pytest.raises(Interrupted):
            compute(given, lambda: True)
    assert_as_undisturbed(given, compute(given), trained)
    lines = [line for line in capsys.readouterr().out.splitlines() if "trigger" in line]
    assert [line.split(": trigger, ")[0] for line in lines] == [
        "seed 2: epoch 1.4, step 7 of 10",
        "seed 3: epoch 1.6, step 8 of 10",
        "seed 0: epoch 1.8, step 9 of 10",
    ]
    assert "the running median of the training loss fell from 2." in lines[0]


def outputs(given: WorkItem, seed: int) -> Forward:
    """What one model gives at its trigger, loaded alone; hidden states too."""
    samples = read_samples(given)
    task = make_task(given.model_copy(update={"seeds": [seed]}), samples)
    task.load(0, given.layout.trigger_adapter(seed))
    return forward(task, hidden=True)


def test_logits_at_the_trigger_are_those_of_its_weights(
    trained: tuple[WorkItem, Results], without: tuple[WorkItem, Results]
) -> None:
    given, plain = (item(one.warehouse, one.study, "logits", SEEDS) for one in (trained[0], without[0]))
    results, plain_results = compute(given), compute(plain)
    for seed in SEEDS:
        rows = pq.read_table(given.layout.logits(seed)).to_pandas()
        epochs = sorted({0, 1, 2} | ({TRIGGERS[seed]} if seed in TRIGGERS else set()))
        assert rows["epoch"].tolist() == np.repeat(epochs, 90).tolist()
        assert rows["sample_id"].tolist() == list(range(90)) * len(epochs)
        assert set(rows["split_seed"]) == {seed}
        assert results[seed].facts == {**plain_results[seed].facts, "rows": 90 * len(epochs)}
        regular = rows[rows["epoch"] != TRIGGERS.get(seed)].reset_index(drop=True)
        expected = pq.read_table(plain.layout.logits(seed)).to_pandas()
        np.testing.assert_array_equal(regular["loss"], expected["loss"])
        if seed in TRIGGERS:
            at_trigger = rows[rows["epoch"] == TRIGGERS[seed]]
            found = np.stack(at_trigger["option_logits"].to_list())
            np.testing.assert_allclose(found, outputs(given, seed).option_logits[0], atol=1e-5)
            np.testing.assert_allclose(at_trigger["loss"], outputs(given, seed).loss[0], atol=1e-5)


def test_layers_at_the_trigger_are_scored_by_its_weights(trained: tuple[WorkItem, Results]) -> None:
    given = item(trained[0].warehouse, trained[0].study, "layer_scores", [0, 1])
    compute(given)
    samples = pq.read_table(given.layout.samples).to_pandas()
    for seed, epochs in ((0, [0, 1, 1.8, 2]), (1, [0, 1, 2])):
        for path in (given.layout.layer_scores, given.layout.layer_summary, given.layout.weight_norms):
            assert pq.read_table(path(seed)).column("epoch").unique().to_pylist() == epochs
    rows = pq.read_table(given.layout.layer_scores(0)).to_pandas()
    at_trigger = rows[rows["epoch"] == 1.8]
    ids = at_trigger["sample_id"].to_numpy()[:40]
    hidden = outputs(given, 0).hidden
    assert hidden is not None
    expected, _ = layer_scores_at(
        [layer[0, ids] for layer in hidden], samples["given_label"].to_numpy()[ids], given.study.scores
    )
    np.testing.assert_allclose(at_trigger["psmi"], expected["psmi"], atol=1e-5)
    norms = pq.read_table(given.layout.weight_norms(0)).to_pandas()
    norms = norms[(norms["module"] == "all") & (norms["norm"] == "frobenius")].set_index("epoch")["distance"]
    assert norms[0] == 0 < norms[1] < norms[1.8] < norms[2]


@pytest.mark.parametrize(("step", "seeds", "total"), [("logits", SEEDS, 4), ("layer_scores", [0, 1], 7)])
def test_a_forward_pass_interrupted_after_every_checkpoint_gives_the_same_files(
    trained: tuple[WorkItem, Results],
    monkeypatch: pytest.MonkeyPatch,
    step: Any,
    seeds: list[int],
    total: int,
) -> None:
    given = item(trained[0].warehouse, trained[0].study, step, seeds)
    shutil.rmtree(given.folder, ignore_errors=True)
    wanted = compute(given)
    shutil.rmtree(given.folder)
    passes: list[int] = []
    for module in (forward_steps, step_outputs):
        monkeypatch.setattr(
            module, "forward", lambda *args, **settings: passes.append(1) or forward(*args, **settings)
        )
    for done in range(1, total):
        with pytest.raises(Interrupted) as caught:
            compute(given, lambda: True)
        assert (caught.value.done, caught.value.total) == (done, total)
        assert len(passes) == done
    assert compute(given, lambda: True) == wanted
    assert len(passes) == total
