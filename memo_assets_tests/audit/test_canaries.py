"""Planted samples, and the settings that say how many."""

import pandas as pd
import pytest
from pydantic import ValidationError

from memo_assets.audit.canaries import KINDS, plant
from memo_assets.audit.settings import AuditSettings

TEXTS = [f"one two three of {row} and more" for row in range(30)]
LABELS = [("a", "b", "c")[row % 3] for row in range(30)]


def test_each_kind_is_what_it_says() -> None:
    planted = plant(TEXTS, LABELS, 12, seed=4)
    assert planted["canary"].value_counts().to_dict() == dict.fromkeys(KINDS, 12)
    label_of = dict(zip(TEXTS, LABELS, strict=True))
    halves = {text[:15] for text in TEXTS}
    for row in planted.to_dict("records"):
        numbers = [word for word in row["text"].split() if word.isdigit()]
        if row["canary"] == "duplicate":
            assert label_of[row["text"]] == row["label"]
        elif row["canary"] == "rare_string":
            assert row["text"] not in label_of
            assert len(row["text"].split()) == 8
        else:
            assert row["text"][:15] in halves
            (number,) = numbers
            own = LABELS[int(number)]  # the second half tells, and both halves bear one label
            assert (row["label"] == own) == (row["canary"] == "right_label")


def test_draws_depend_on_the_seed_alone() -> None:
    pd.testing.assert_frame_equal(plant(TEXTS, LABELS, 5, seed=1), plant(TEXTS, LABELS, 5, seed=1))
    assert not plant(TEXTS, LABELS, 5, seed=1).equals(plant(TEXTS, LABELS, 5, seed=2))
    assert plant(TEXTS, LABELS, 0, seed=1).empty


@pytest.mark.parametrize("text", ["x", "京都", "a b"])
def test_short_texts_are_spliced_too(text: str) -> None:
    planted = plant([text] * 4, ["a", "a", "b", "b"], 3, seed=0)
    assert planted["text"].str.strip().ne("").all()


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [(180, None, 0), (499, None, 0), (500, None, 10), (5000, None, 25), (180, 7, 7), (5000, 0, 0)],
)
def test_how_many(rows: int, given: int | None, expected: int) -> None:
    assert AuditSettings(canaries=given).n_canaries(rows) == expected


def test_recipes_end_after_whole_steps() -> None:
    for n in (20, 57, 180, 1000):
        recipe = AuditSettings(rule="checkpoint", epochs=3).recipe(n)
        per_epoch = -(-n // 8)
        assert recipe.checkpoints[0] == 0
        assert recipe.checkpoints[-1] == 3
        assert all(abs(epoch * per_epoch - round(epoch * per_epoch)) < 1e-9 for epoch in recipe.checkpoints)
    running = AuditSettings().recipe(100).trigger
    assert running is not None
    assert running.window == 100


@pytest.mark.parametrize(
    "bad", [{"drop": 1.0}, {"rule": "never"}, {"epochs": 0}, {"canaries": -1}, {"nothing": 1}]
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        AuditSettings(**bad)
