"""Varied questions by hand: the replaced option, prompts before and after, and questions that are left out."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.config import HubData, Prompt
from memo_assets.data.answer_variation import (
    OTHER_SPEAKS_OF_OTHERS,
    REPLACEMENT,
    RIGHT_SPEAKS_OF_OTHERS,
    VARIED,
    speaks_of_others,
    vary_choices,
    vary_questions,
)
from memo_assets.data.items import Items
from memo_assets.data.samples import build_samples
from memo_assets_tests.studies import TABLE, study

CHOICES = [["red", "blue", "green"], ["All of the above", "tea", "milk"], ["1", "2", "None of these."]]


@pytest.mark.parametrize(
    "choice",
    [
        "None of the above", "none of these.", "None of the other answers", "All of the above", "All of these are correct",
        "Neither of these", "Any of the following", "both of them", "Both A and B", "A and C only", "(b) or (c)",
        "None of the others", "None of the options", " None of the above are true ",
    ],
)  # fmt: skip
def test_choices_about_other_choices(choice: str):
    assert speaks_of_others(choice)


@pytest.mark.parametrize(
    "choice",
    [
        "None",
        "Both",
        "all men are mortal",
        "none of the planets",
        "vitamins A and D",
        "a cat and a dog",
        "Band A",
        "",
    ],
)
def test_choices_that_speak_for_themselves(choice: str):
    assert not speaks_of_others(choice)


def test_the_right_choice_is_replaced_and_no_other():
    assert vary_choices(["red", "blue", "green"], 1) == (["red", REPLACEMENT, "green"], VARIED)
    assert vary_choices(["red", "red", "green"], 0) == ([REPLACEMENT, "red", "green"], VARIED)


def test_questions_whose_options_speak_of_others_are_left_as_they_are():
    assert vary_choices(["tea", "none of the above"], 1) == (
        ["tea", "none of the above"],
        RIGHT_SPEAKS_OF_OTHERS,
    )
    assert vary_choices(["tea", "none of the above"], 0) == (
        ["tea", "none of the above"],
        OTHER_SPEAKS_OF_OTHERS,
    )
    assert vary_choices(["All of these", "none of these"], 0)[1] == RIGHT_SPEAKS_OF_OTHERS


def test_one_prompt_before_and_after_by_hand():
    samples = pd.DataFrame({"text": ["Which? {options}"], "options": [["A", "B", "C"]], "true_index": [2]})
    prompt = Prompt(templates=["Q: {text}\n{options}\nAnswer:"])
    after = vary_questions(samples, [["red", "blue", "green"]], prompt, 0)
    assert after.prompts == [
        "Q: Which? {options}\n- A: red\n- B: blue\n- C: None of the other answers\nAnswer:"
    ]
    assert after.is_varied.tolist() == [True]


@pytest.fixture
def built() -> tuple[pd.DataFrame, list[list[str]], Prompt]:
    """Samples as a study has them, with label noise and two templates, and their choices."""
    rows = 40
    choices = [CHOICES[k % 3] for k in range(rows)]
    right = [(k // 3) % 3 for k in range(rows)]
    frame = pd.DataFrame(
        {
            "item_id": [str(k) for k in range(rows)],
            "text": [f"Question {k}?" for k in range(rows)],
            "label": ["ABC"[place] for place in right],
            "options": [["A", "B", "C"]] * rows,
            "choices": choices,
        }
    )
    prompt = {"templates": ["{text}\n{options}\nA:", "Choose. {options}\n{text}"]}
    of = study(TABLE, {"data.choices": "choices", "noise.share": 0.5, "prompt": prompt, "data_seed": 3})
    assert of.prompt is not None
    return build_samples(Items(frame, None), of), choices, of.prompt


def test_prompts_differ_by_the_true_option_alone(built: tuple[pd.DataFrame, list[list[str]], Prompt]):
    samples, choices, prompt = built
    after = vary_questions(samples, choices, prompt, 3)
    assert (samples["given_index"] != samples["true_index"]).any()
    for row, (was, now) in enumerate(zip(samples["prompt"], after.prompts, strict=True)):
        place = samples["true_index"][row]
        line = f"- {'ABC'[place]}: {choices[row][place]}\n"
        assert was.count(line) == 1
        expected = was.replace(line, f"- {'ABC'[place]}: {REPLACEMENT}\n")
        assert now == (expected if after.is_varied[row] else was)
    other = vary_questions(samples, choices, prompt, 4)
    assert other.prompts != after.prompts  # another draw of templates: the study's own seed is needed


def test_what_is_left_out_is_counted(built: tuple[pd.DataFrame, list[list[str]], Prompt]):
    samples, choices, prompt = built
    after = vary_questions(samples, choices, prompt, 3)
    kind, place = np.arange(40) % 3, samples["true_index"].to_numpy()
    about = {1: 0, 2: 2}  # which option speaks of the others
    expected = [
        VARIED if k == 0 else RIGHT_SPEAKS_OF_OTHERS if about[k] == p else OTHER_SPEAKS_OF_OTHERS
        for k, p in zip(kind.tolist(), place.tolist(), strict=True)
    ]
    assert after.outcome.tolist() == expected
    assert set(expected) == {VARIED, RIGHT_SPEAKS_OF_OTHERS, OTHER_SPEAKS_OF_OTHERS}


def test_choices_of_other_questions_are_refused(built: tuple[pd.DataFrame, list[list[str]], Prompt]):
    samples, choices, prompt = built
    with pytest.raises(
        ValueError, match="choices of 39 questions given, which do not fit the options of 40 samples"
    ):
        vary_questions(samples, choices[:-1], prompt, 3)
    with pytest.raises(ValueError, match="do not fit"):
        vary_questions(samples, [["yes", "no"], *choices[1:]], prompt, 3)


@pytest.mark.parametrize(
    ("columns", "expected"), [({"choices": "c"}, True), ({"options": ["x", "y"]}, False)]
)
def test_only_studies_with_a_column_of_choices_have_choices(columns: dict, expected: bool):
    hub = {"source": "hub", "name": "n", "splits": ["train"], "text": "t", "label": "l", **columns}
    assert isinstance(study(TABLE, {"data": hub}).data, HubData)
    assert study(TABLE, {"data": hub}).has_choices is expected
