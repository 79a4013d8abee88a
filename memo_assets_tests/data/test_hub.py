"""Rows in the published columns, read as the five studies of the paper read them."""

from pathlib import Path

import numpy as np
import pytest

from memo_assets.config import HubData
from memo_assets.data import columns
from memo_assets.data.errors import DataError, DataMissingError
from memo_assets.data.hub import load_hub
from memo_assets.data.items import load_items
from memo_assets.data.noise import template_index
from memo_assets.data.samples import build_samples
from memo_assets.study import load_study
from memo_assets_tests.paper_studies import SAVE, toy

ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "splits_noise.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in SAVE:
        toy(name, folder / name)
    return folder


def data(made: Path, name: str, **changes: object) -> HubData:
    settings = load_study(name).data.model_dump()
    settings |= {"name": str(made / name / "data"), "splits": ["train", "test"]}
    return HubData.model_validate(settings | changes)


def test_arc_keeps_its_own_letters_and_fifth_choices(made: Path) -> None:
    frame = load_hub(data(made, "arc_mistral", splits=["train[:12]", "test"]))
    assert frame["item_id"].iloc[[0, 11, 12]].tolist() == ["train/0", "train/11", "test/0"]
    assert frame["options"].iloc[7] == ["A", "B", "C", "D", "E"]
    assert frame["choices"].iloc[7][4] == "none of these"
    assert frame["options"].iloc[9] == ["1", "2", "3", "4"]
    assert frame["label"].iloc[:8].tolist() == ["A", "B", "C", "D", "A", "B", "C", "E"]


def test_a_right_choice_stays_right_in_the_prompt(made: Path) -> None:
    study = toy("mmlu_llama", made / "again")
    samples = build_samples(load_items(study.data, 0, made), study)
    for text, prompt, letter in samples[["text", "prompt", "true_label"]].to_numpy():
        first, second = (int(word) for word in text.split() if word.isdigit())
        assert f"- {letter}: {first + second}\n" in prompt + "\n"
    assert set(samples["true_label"]) == {"A", "B", "C", "D"}


def test_ethics_draws_from_the_templates_of_its_opening(made: Path) -> None:
    study = toy("ethics_mistral", made / "once more")
    assert study.prompt is not None
    samples = build_samples(load_items(study.data, 0, made), study)
    posts = samples["text"].str.startswith("AITA").to_numpy()
    drawn = template_index(len(samples), np.where(posts, 5, 10), 0)
    (opening,) = study.prompt.openings
    for k, (text, prompt) in enumerate(samples[["text", "prompt"]].to_numpy()):
        template = (opening.templates if posts[k] else study.prompt.templates)[drawn[k]]
        assert prompt == template.replace("{text}", text).replace("{options}", "- no\n- yes")
    assert samples["true_label"].iloc[:2].tolist() == ["no", "yes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": ["valid"]}, "has no split 'valid': data.splits may name train, test"),
        ({"splits": ["train[:99]"]}, r"asks for train\[:99\], but it has 40 rows"),
        ({"text": "body"}, r"column 'body' is missing; it has \['label', 'input'\]"),
    ],
)
def test_what_is_not_there_is_named(made: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_hub(data(made, "ethics_mistral", **changes))


def test_a_label_without_an_option_is_named(made: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: label 2 counts from 0, but there are 2 options"):
        columns._label(2, ["no", "yes"], "1")


def test_data_that_are_nowhere_say_how_to_get_them() -> None:
    wanted = HubData.model_validate(
        {
            "source": "hub",
            "name": "nobody/nothing",
            "splits": ["train"],
            "text": "t",
            "label": "l",
            "options": ["a", "b"],
        }
    )
    with pytest.raises(DataMissingError, match=r"nobody/nothing is not in the cache .*memo fetch STUDY"):
        load_hub(wanted)
