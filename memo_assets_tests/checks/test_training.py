"""Weights and losses of trained models."""

from pathlib import Path

import numpy as np
import pytest

from memo_assets.checks.training import loss_fell, weights_changed
from memo_assets.checks.verdict import Verdict
from memo_assets_tests.checks.sound import Sound, facts_are_plain


@pytest.fixture
def sound(warehouse: Path) -> Sound:
    made = Sound(warehouse)
    for seed in made.study.seeds:
        made.write_weights(seed)
        made.write_log(seed)
    return made


def weights(sound: Sound) -> Verdict:
    return weights_changed(sound.layout, sound.study.training, list(sound.study.seeds))


def losses(sound: Sound, seeds: list[int] | None = None) -> Verdict:
    return loss_fell(sound.layout, sound.study.training, seeds or list(sound.study.seeds))


def test_sound_weights_pass(sound: Sound) -> None:
    found = weights(sound)
    assert found.passed
    assert found.sentence == "weights of 4 models: finite, and other at the last checkpoint than at step 0"
    assert found.facts == {"models": 4, "share_of_unchanged_tensors": 0.5}
    assert facts_are_plain(found.facts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_names_its_model(sound: Sound, value: float) -> None:
    sound.write_weights(
        1, {"a": np.array([[1, value, 1], [1, 1, 1]], np.float32), "b": np.ones(4, np.float32)}
    )
    found = weights(sound)
    assert not found.passed
    assert found.sentence.startswith("weights that are not finite: seed 1. Expected")
    assert found.seeds == (1,)


def test_weights_of_step_0_name_their_models(sound: Sound) -> None:
    for seed in (0, 3):
        sound.write_weights(seed, {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)})
    found = weights(sound)
    assert not found.passed
    assert "weights that are those of step 0: seeds 0 and 3. Expected finite weights" in found.sentence
    assert found.seeds == (0, 3)


@pytest.mark.parametrize("how", ["gone", "cut", "other tensors", "no start"])
def test_files_that_cannot_be_compared_name_their_model(sound: Sound, how: str) -> None:
    file = sound.layout.adapter(2, 2.0) / "model.safetensors"
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-3])
    elif how == "other tensors":
        sound.write_weights(2, {"c": np.ones(3, np.float32)})
    else:
        (sound.layout.adapter(2, 0.0) / "model.safetensors").unlink()
    found = weights(sound)
    assert not found.passed
    assert "weights that are not there or cannot be read: seed 2." in found.sentence


def test_losses_that_fell_pass(sound: Sound) -> None:
    found = losses(sound)
    assert found.passed
    assert found.sentence == "mean training loss of 4 models: 2 until epoch 1, 1 before epoch 2"
    assert found.facts == {"models": 4, "models_whose_loss_did_not_fall": 0, "first_mean_loss": 2.0, "last_mean_loss": 1.0}  # fmt: skip


def test_a_loss_that_did_not_fall_names_its_model_and_the_trigger_does_not_count(sound: Sound) -> None:
    sound.write_log(1, [None, 1.0, 1.0])
    sound.write_log(2, [None, 1.0, 0.5], trigger=1.5)
    sound.write_log(3, [None, 1.0, None])
    found = losses(sound)
    assert not found.passed
    assert "did not fall between the epochs 1 and 2: seeds 1 and 3. Look at" in found.sentence
    assert found.seeds == (1, 3)
    assert facts_are_plain(found.facts)


def test_one_interval_has_no_loss_to_compare(warehouse: Path) -> None:
    made = Sound(warehouse, changes={"training.checkpoints": [0, 2]})
    made.write_log(0)
    found = losses(made, [0])
    assert found.passed
    assert found.sentence.startswith(
        "not judged: training.checkpoints names none between 0 and the last epoch"
    )
