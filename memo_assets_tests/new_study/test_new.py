"""`memo study new`: what it writes, asks and refuses; and the README's walk-through as printed."""

import math
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from memo_assets import cli_study
from memo_assets.cli import app
from memo_assets.config import TinyLlama
from memo_assets.models.tiny_llama import pretrain_tiny_llama
from memo_assets.new_study.draft import recipe, usual_name
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets.study_file import load_study

ROOT = Path(__file__).parents[2]
TICKETS = ROOT / "examples" / "tickets.csv"


@pytest.fixture
def mine(tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's own studies."""
    folder = tmp_path / "mine" / "studies"
    monkeypatch.setenv("MEMO_STUDIES", str(folder))
    monkeypatch.delenv("MEMO_EXECUTOR", raising=False)
    monkeypatch.chdir(ROOT)
    return folder


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama that has seen the example's texts once; each of its labels is one token."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    settings = TinyLlama(
        kind="tiny_llama", hidden=32, sentences=["{text}\nIt is {label}."], epochs=1, learning_rate=0.003
    )
    pretrain_tiny_llama(pd.read_csv(TICKETS), settings, folder)
    return folder


def memo(*arguments: str, answers: str = "") -> Result:
    result = CliRunner().invoke(app, list(arguments), input=answers, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def new(*arguments: str, answers: str = "") -> Result:
    return memo("study", "new", "--from", str(TICKETS), *arguments, answers=answers)


def commands() -> list[list[str]]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.slow
def test_the_walk_through_of_the_readme(mine: Path, warehouse: Path, tiny_model: Path) -> None:
    found = commands()
    assert found[0][:3] == ["memo", "study", "new"]
    found[0] += ["--model", str(tiny_model)]  # SmolLM2 would take minutes
    shown = []
    for command in found:
        assert command[0] == "memo"
        result = memo(*command[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
        shown.append(result.stdout)
    assert re.search(r"billing\W+45", shown[0])
    assert f"written: {mine}/tickets/defs.yaml" in shown[0]
    assert "labels: one token each" in shown[0]
    assert "samples: 180 (160 pool, 20 test)" in shown[1]
    study = load_study("tickets")
    assert (study.shadows.models, study.training.epochs) == (8, 3)
    assert study.labels.attack == "online_lira_fixed_variance"
    report = Layout.of("tickets").report.read_text(encoding="utf-8")
    assert "parcel left your warehouse" not in report  # show_text is false
    with reading() as connection:
        samples, memorized = connection.execute(
            "SELECT count(DISTINCT sample_id), count(*) FILTER (memorized) FROM memorization WHERE epoch = 3"
        ).fetchall()[0]
    assert samples == 80
    assert memorized == 8


def test_the_file_is_commented_valid_and_never_written_twice(mine: Path, tiny_model: Path) -> None:
    mine.parent.mkdir()
    (mine.parent / "own.csv").write_bytes(TICKETS.read_bytes())
    template = 'What is "{text}" about?\tÉ'
    arguments = ["--text", "text", "--label", "label", "--model", str(tiny_model), "--prompt", template]
    result = memo("study", "new", "--from", str(mine.parent / "own.csv"), *arguments)
    assert result.exit_code == 0, result.output
    path = mine / "own" / "defs.yaml"
    text = path.read_text(encoding="utf-8")
    assert 'path: "../../own.csv"' in text  # beside the studies: all may be moved together
    blocks = re.findall(r"^  (\w+):", text, re.MULTILINE)
    assert {
        "name",
        "data",
        "noise",
        "prompt",
        "model",
        "lora",
        "training",
        "shadows",
        "labels",
        "compute",
    } < set(blocks)
    for block in blocks:  # a comment above it or right below
        assert re.search(rf"^  # .*\n  {block}:|^  {block}:\n    # ", text, re.MULTILINE), block
    study = load_study("own")
    assert study.prompt is not None
    assert study.prompt.templates == [template]
    assert study.data.source == "table"
    assert study.data.options == ["account", "billing", "delivery", "technical"]
    assert study.shadows.models == 34
    again = memo("study", "new", "--from", str(mine.parent / "own.csv"), *arguments)
    assert again.exit_code == 1
    assert "which is left alone: choose another --name" in again.stderr
    assert path.read_text(encoding="utf-8") == text
    assert [entry.name for entry in mine.iterdir()] == ["own"]


def test_columns_are_asked_for_on_a_terminal_only(
    mine: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = new("--label", "label")
    assert result.exit_code == 1
    assert result.stderr.strip() == (
        "error: --text: name the column that holds the text, one of 'text', 'label'; 'text' looks like it, and --yes "
        "takes it"
    )
    assert new("--yes", "--model", str(tiny_model), "--name", "taken").exit_code == 0
    monkeypatch.setattr(cli_study, "_on_terminal", lambda: True)
    result = new("--name", "asked", "--model", str(tiny_model), answers="\nnothing\nlabel\n")
    assert result.exit_code == 0, result.output
    one, other = load_study("taken"), load_study("asked")
    assert one.data == other.data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Mine"], "--name: given 'Mine'; expected a lower-case letter"),
        (["--name", "digits"], "there is a study 'digits'"),
        (["--label", "text"], "180 options"),
        (["--label", "topic"], "has no column 'topic'"),
        (["--prompt", "Which?"], "lacks {text}"),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    mine: Path, tiny_model: Path, arguments: list[str], message: str
) -> None:
    given = {"--text": "text", "--label": "label", "--model": str(tiny_model)}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    result = new(*(part for pair in given.items() for part in pair))
    assert result.exit_code == 1
    assert message in result.stderr
    assert not mine.exists() or not list(mine.iterdir())


def test_labels_that_begin_alike_are_scored_by_all_their_tokens(
    mine: Path, tiny_model: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(TICKETS)
    frame["label"] = "xqz" + frame["label"]
    frame.to_csv(tmp_path / "alike.csv", index=False)
    result = memo(
        *("study", "new", "--from", str(tmp_path / "alike.csv"), "--yes", "--model", str(tiny_model))
    )
    assert result.exit_code == 0, result.output
    assert "labels: begin alike, so all their tokens are scored" in result.stdout
    prompt = load_study("alike").prompt
    assert prompt is not None
    assert prompt.scoring == "sequence"


@pytest.mark.parametrize("n_train", [*range(10, 400, 13), 400, 4001])
def test_checkpoints_fall_on_whole_steps(n_train: int) -> None:
    size, checkpoints = recipe(n_train, 3)
    per_epoch = math.ceil(n_train / size)
    assert checkpoints[0] == 0
    assert checkpoints[-3:] == [1, 2, 3]
    assert (len(checkpoints) > 4) == (math.ceil(n_train / 8) >= 20)
    for epoch in checkpoints:
        assert math.isclose(epoch * per_epoch, round(epoch * per_epoch))


@pytest.mark.parametrize(
    ("file", "name"),
    [("Support Tickets (2).csv", "support_tickets_2"), ("2024.csv", "study_2024"), ("a.csv", "a")],
)
def test_a_study_is_named_after_its_file(file: str, name: str) -> None:
    assert usual_name(Path(file)) == name
