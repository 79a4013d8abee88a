"""Logits that are all there, and models that have learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.checks.logits import accuracy_above_chance, logits_complete
from memo_assets.checks.verdict import Verdict
from memo_assets_tests.checks.sound import Sound, facts_are_plain, write_tickets
from memo_assets_tests.studies import TABLE


def complete(sound: Sound) -> Verdict:
    return logits_complete(sound.layout, sound.study, list(sound.study.seeds))


def learned(sound: Sound) -> Verdict:
    return accuracy_above_chance(sound.layout, sound.study, list(sound.study.seeds))


def written(warehouse: Path, changes: dict | None = None, base: dict | None = None) -> Sound:
    sound = Sound(warehouse, changes=changes) if base is None else Sound(warehouse, base, changes)
    for seed in sound.study.seeds:
        sound.write_log(seed)
        sound.write_logits(seed)
    return sound


@pytest.mark.parametrize("changes", [{}, {"labels.queries": {"shift": 1}}])
def test_sound_logits_pass(warehouse: Path, changes: dict) -> None:
    found = complete(written(warehouse, changes))
    assert found.passed, found.sentence
    assert (
        found.sentence
        == "logits of 4 models: each of the 90 samples once at every checkpoint, all numbers finite"
    )
    assert found.facts == {"models": 4, "rows": 4 * 3 * 90, "models_at_fault": 0}


def _at(place: int, column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].tolist()
        values[place] = value
        return frame.assign(**{column: values})

    return change


# Row 95 is sample 5 at epoch 1.
BROKEN: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda frame: frame.drop(95), "samples that are not there just once: seed 2, the first at epoch 1 (samples 5)"),
    (
        lambda frame: pd.concat([frame, frame.iloc[[95]]]),
        "samples that are not there just once: seed 2, the first at epoch 1 (samples 5)",
    ),
    (
        lambda frame: frame.assign(sample_id=frame["sample_id"].where(frame.index != 95, 6)),
        "samples that are not there just once: seed 2, the first at epoch 1 (samples 5 and 6)",
    ),
    (lambda frame: frame[frame["epoch"] != 1], "other checkpoints than the recipe's: seed 2"),
    (_at(95, "loss", np.nan), "nan or infinite, or of another model: seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "logit_gap", np.inf), "seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "option_logits", np.array([np.nan] + [0.0] * 9, np.float32)), "seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "option_logits", [None] + [0.0] * 9), "seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "option_logits", [None] + [0.0] * 10), "seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "option_logits", np.array([np.inf, -np.inf] + [0.0] * 8, np.float32)), "epoch 1 (samples 5)"),
    (_at(95, "option_logits", np.zeros(9, np.float32)), "seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "split_seed", 1), "or of another model: seed 2, the first at epoch 1 (samples 5)"),
    (_at(95, "loss", None), "numbers that are missing, nan or infinite, or of another model: seed 2"),
    (_at(95, "sample_id", 10_000), "samples that are not there just once: seed 2"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), BROKEN)
def test_broken_logits_are_named(warehouse: Path, change: Callable, sentence: str) -> None:
    sound = written(warehouse)
    sound.write_logits(2, change(sound.logits(2)))
    found = complete(sound)
    assert not found.passed
    assert sentence in found.sentence
    assert found.seeds == (2,)
    assert facts_are_plain(found.facts)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 cut off"])
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_judged(
    warehouse: Path, content: bytes | None
) -> None:
    sound = written(warehouse)
    path = sound.layout.logits(0)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    sound.write_logits(3, sound.logits(3, epochs=[0, 1]))
    found = complete(sound)
    assert found.sentence.startswith(
        "logits with files that cannot be read or lack columns: seed 0; other checkpoints than the recipe's: seed 3. Expected"
    )
    assert found.seeds == (0, 3)


def test_missing_queries_are_found(warehouse: Path) -> None:
    sound = written(warehouse, {"labels.queries": {"shift": 1}})
    sound.write_logits(0, sound.logits(0).drop(columns="query_gaps"))
    assert "lack columns: seed 0. Expected" in complete(sound).sentence
    sound.write_logits(0)
    frame = sound.logits(1)
    sound.write_logits(1, _at(95, "query_gaps", np.zeros(8, np.float32))(frame))
    assert "seed 1, the first at epoch 1 (samples 5)" in complete(sound).sentence


def test_a_checkpoint_at_the_models_own_trigger_belongs_to_it(warehouse: Path) -> None:
    sound = written(warehouse, {"training.trigger": {"window": 20}})
    assert complete(sound).passed
    sound.write_log(1, trigger=1.5)
    assert "other checkpoints than the recipe's: seed 1" in complete(sound).sentence
    sound.write_logits(1, sound.logits(1, epochs=[0, 1, 1.5, 2]))
    assert complete(sound).passed
    sound.write_logits(2, sound.logits(2, epochs=[0, 1, 1.5, 2]))
    assert "other checkpoints than the recipe's: seed 2" in complete(sound).sentence


def test_models_that_know_their_samples_pass(warehouse: Path) -> None:
    found = learned(written(warehouse))
    assert found.passed, found.sentence
    assert found.facts["least_accuracy"] == found.facts["mean_accuracy"] == 1
    assert found.facts["mean_accuracy_before_training"] < 0.3
    assert found.sentence.startswith("training accuracy 1 over 4 models; chance gives ")
    assert facts_are_plain(found.facts)


def test_models_at_chance_and_models_no_better_than_before_are_named(warehouse: Path) -> None:
    sound = written(warehouse)
    guesses = sound.logits(1, epochs=[0])
    sound.write_logits(1, pd.concat([guesses.assign(epoch=float(epoch)) for epoch in (0, 1, 2)]))
    known = sound.logits(3, epochs=[2])
    sound.write_logits(3, pd.concat([known.assign(epoch=float(epoch)) for epoch in (0, 1, 2)]))
    found = learned(sound)
    assert not found.passed
    assert found.sentence.startswith(
        "models that are no better than chance: seed 1; no better than before training: seeds 1 and 3. "
    )
    assert found.seeds == (1, 3)


def test_naming_the_most_frequent_label_is_chance(warehouse: Path) -> None:
    places = ["Oslo"] * 54 + ["Rome"] * 3 + ["Lima"] * 3
    write_tickets(warehouse)
    lines = ["text,label", *(f"letter {i},{place}" for i, place in enumerate(places))]
    (warehouse / "rows.csv").write_text("\n".join(lines) + "\n")
    sound = written(warehouse, base=TABLE)
    for seed in sound.study.seeds:
        frame = sound.logits(seed)
        labels = sound.samples.set_index("sample_id")["given_label"].loc[frame["sample_id"]].to_numpy()
        always_oslo = np.where(frame["epoch"] == 0, -1.0, np.where(labels == "Oslo", 1.0, -1.0))
        sound.write_logits(seed, frame.assign(logit_gap=always_oslo))
    found = learned(sound)
    assert found.facts["mean_accuracy"] > 0.8
    assert not found.passed
    assert "no better than chance: seeds 0, 1, 2 and 3. " in found.sentence


def test_one_label_cannot_be_judged(warehouse: Path) -> None:
    write_tickets(warehouse)
    sound = Sound(warehouse, TABLE)
    sound.write_samples(
        sound.samples.assign(given_label="Oslo", given_index=sound.samples["given_index"].astype("int16"))
    )
    for seed in sound.study.seeds:
        sound.write_logits(seed)
    found = learned(sound)
    assert found.passed
    assert found.sentence.startswith("not judged: all training samples have the same label")
