"""The example studies: each is valid as it stands, and what a script wrote is what it writes."""

import importlib.util
import json
from pathlib import Path

import pytest

from memo_assets.study_check import check_study
from memo_assets.study_file import load_study

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*/*/defs.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_an_example_passes_its_check(file: Path) -> None:
    study = load_study(file)
    assert study.name == file.parent.name
    assert check_study(file)["study"] == study.name


def test_there_are_examples() -> None:
    assert {file.parent.name for file in FILES} >= {"guarded_digits", "guarded_cities", "city_questions"}


def test_the_questions_are_those_of_their_script() -> None:
    folder = EXAMPLES / "choices" / "city_questions"
    spec = importlib.util.spec_from_file_location("make_questions", folder / "make_questions.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    rows = [
        json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert rows == made.questions()
    names = [row["question"] for row in rows]
    assert len(set(names)) == len(names) == made.EACH * len(made.COUNTRIES)
    for row in rows:
        assert len(set(row["choices"])) == made.CHOICES
        assert row["choices"][row["answer"]] in made.COUNTRIES.values()
