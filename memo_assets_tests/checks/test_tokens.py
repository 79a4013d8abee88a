"""Options that a tokenizer can tell apart, judged in a process without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memo_assets.checks.tokens import _judge, _request, _without_text, labels_tokenizable
from memo_assets.checks.verdict import Verdict
from memo_assets.data.errors import DataError
from memo_assets.data.tokens import tokenize
from memo_assets_tests.checks.sound import Sound, facts_are_plain, write_tickets
from memo_assets_tests.data.test_tokens import samples, whole_text
from memo_assets_tests.models.small_models import save_small_model
from memo_assets_tests.studies import TABLE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose tokenizer makes one token of each place, and of `New` as of `York`."""
    folder = tmp_path_factory.mktemp("model")
    save_small_model(folder, "llama", [" Oslo Rome Lima New York Delhi letter from"] * 30)
    return folder


def judged_here(sound: Sound, tokenizer: str | Path) -> Verdict:
    """What the process answers, without starting it."""
    return _judge(_request(sound.layout.samples, tokenizer, None, sound.study))


def test_options_that_differ_pass(warehouse: Path, model: Path) -> None:
    write_tickets(warehouse)
    sound = Sound(warehouse, TABLE)
    found = labels_tokenizable(sound.layout.samples, model, None, sound.study)
    assert found.passed, found.sentence
    assert found.sentence.startswith(
        "the options of all 60 samples differ by the first token; prompts have up to "
    )
    assert found.facts["most_option_tokens"] == 1
    assert found.facts["cut_prompts"] == 0
    assert found.facts["mean_prompt_tokens"] <= found.facts["most_prompt_tokens"]
    assert facts_are_plain(found.facts)


def test_options_that_share_a_token_are_named_and_no_text_is_told(warehouse: Path, model: Path) -> None:
    lines = ["text,label", *(f"letter {i},New {('York', 'Delhi')[i % 2]}" for i in range(40))]
    (warehouse / "rows.csv").write_text("\n".join(lines) + "\n")
    sound = Sound(warehouse, TABLE)
    found = judged_here(sound, model)
    assert not found.passed
    assert found.sentence.startswith(
        "sample 0: options share their first token, so one token cannot tell them apart;"
    )
    assert "York" not in found.sentence
    shown = Sound(warehouse, TABLE, {"show_text": True})
    found = judged_here(shown, model)
    assert "'New York'" in found.sentence
    assert "set prompt.scoring: sequence" in found.sentence
    by_all = Sound(warehouse, TABLE, {"prompt.scoring": "sequence"})
    found = judged_here(by_all, model)
    assert found.passed
    assert found.facts["most_option_tokens"] == 2


@pytest.mark.parametrize(
    ("merges", "options", "told"),
    [
        ([("?", " "), ("? ", "b")], ["q", "b"], "sample 100: the tokens of the prompt depend on the answer;"),
        ([], ["b", "z"], "sample 100: the tokenizer makes no token of the option;"),
    ],
)
def test_texts_that_a_message_quotes_are_left_out(merges: list, options: list, told: str) -> None:
    with pytest.raises(DataError) as caught:
        tokenize(samples(["abba?"], [options]), whole_text(*merges))
    assert "abba" in str(caught.value).replace(" ", "")
    assert "abba" not in _without_text(str(caught.value)).replace(" ", "")
    assert _without_text(str(caught.value)).startswith(told)


def test_a_tokenizer_that_is_not_there_is_not_judged(warehouse: Path) -> None:
    write_tickets(warehouse)
    sound = Sound(warehouse, TABLE)
    found = judged_here(sound, "some/model")
    assert found.passed
    assert found.sentence.startswith("not judged: the tokenizer of some/model is not on this machine")


def test_the_process_does_without_torch(warehouse: Path, model: Path) -> None:
    write_tickets(warehouse)
    sound = Sound(warehouse, TABLE)
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "memo_assets.checks.tokens"],
        input=json.dumps(_request(sound.layout.samples, model, None, sound.study)),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "transformers" in imported
    assert "torch" not in imported
    assert json.loads(run.stdout.splitlines()[-1])["passed"]
