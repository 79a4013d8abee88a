"""Samples against the raw items that they came from."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from memo_assets.checks.samples import ids_unique_and_stable
from memo_assets_tests.checks.sound import Sound, facts_are_plain, write_tickets
from memo_assets_tests.studies import TABLE


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise.share": 0.2},
        {"canaries": {"kind": "ood", "count": 5}},
        {"canaries": {"kind": "clean", "count": 5}},
    ],
)
def test_sound_images_pass(warehouse: Path, changes: dict) -> None:
    found = ids_unique_and_stable(Sound(warehouse, changes=changes).layout)
    assert found.passed
    assert found.sentence == "90 samples, each id once and with the image, label and options of its raw item"
    assert found.facts == {
        "samples": 90, "ids_that_occur_again": 0, "shared_item_ids": 0, "without_item": 0, "without_sample": 0,
        "other_than_raw": 0, "inconsistent": 0,
    }  # fmt: skip
    assert facts_are_plain(found.facts)


def test_sound_texts_pass(warehouse: Path) -> None:
    write_tickets(warehouse)
    found = ids_unique_and_stable(Sound(warehouse, TABLE, {"noise.share": 0.3}).layout)
    assert found.passed, found.sentence
    assert "text, label and options" in found.sentence


def _set(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].tolist()
        values[row] = value
        return frame.assign(**{column: values})

    return change


BROKEN: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (_set("sample_id", 4, 3), "sample_ids that occur more than once: 3; raw items without a sample: 4"),
    (_set("sample_id", 4, 1000), "samples without a raw item of that number: 1000; raw items without a sample: 4"),
    (lambda frame: frame.drop([2, 5]), "raw items without a sample: 2 and 5"),
    (_set("item_id", 4, "3"), "samples whose item_id others bear too: 3; samples with another id"),
    (
        lambda frame: frame.assign(sample_id=[1, 0, *frame["sample_id"][2:]]),
        "samples with another id, content, label or options than their raw item: 0 and 1",
    ),
    (_set("text", 7, "another letter"), "than their raw item: 7; samples whose labels"),
    (_set("prompt", 7, "letter?"), "or whose prompt lacks their text: 7"),
    (_set("given_label", 8, "Rome"), "samples whose labels are not the options they point at"),
    (lambda frame: _set("given_index", 7, 0)(_set("given_label", 7, "Lima")(frame)), "whose label is wrong without being noise"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), BROKEN)
def test_broken_samples_are_named(warehouse: Path, change: Callable, sentence: str) -> None:
    write_tickets(warehouse)
    sound = Sound(warehouse, TABLE)
    assert ids_unique_and_stable(sound.layout).passed
    sound.write_samples(change(sound.samples))
    found = ids_unique_and_stable(sound.layout)
    assert not found.passed
    assert sentence in found.sentence
    assert found.sentence.endswith("materialize raw_dataset and samples again")
    assert "letter" not in found.sentence  # no text of samples


def test_raw_data_that_changed_under_the_samples_are_found(warehouse: Path) -> None:
    sound = Sound(warehouse)
    images = sound.items["image"].tolist()
    sound.write_items(sound.items.assign(image=[*images[:-1], images[0]]))
    found = ids_unique_and_stable(sound.layout)
    assert not found.passed
    assert "than their raw item: 89;" in found.sentence
    assert found.facts["other_than_raw"] == 1


def test_more_than_five_samples_are_counted(warehouse: Path) -> None:
    sound = Sound(warehouse)
    sound.write_samples(sound.samples.iloc[:80])
    assert (
        "raw items without a sample: 80, 81, 82, 83, 84 (10 in all);"
        in ids_unique_and_stable(sound.layout).sentence
    )
