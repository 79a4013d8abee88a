"""The commands and Python of docs/audit.md run as printed, with the toy in the place of SmolLM2."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from memo_assets_tests.audit.test_monitor import tiny as tiny  # noqa: PLC0414 - a fixture
from memo_assets_tests.audit.test_monitor import tokenized, trainer_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    said: list[str] = []
    for line in SHELL[0].splitlines():
        words = shlex.split(line)
        assert words[0] == "memo"
        words += ["--model", "tiny", "--epochs", "2"] if words[1] == "audit" else []
        run = subprocess.run(
            [sys.executable, "-m", "memo_assets.cli", *words[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        said.append(run.stdout)
    assert "whole" in said[-1]


def test_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(PYTHON[0].replace('"smollm2"', '"tiny", epochs=2'), {})
    assert "trials=180" in capsys.readouterr().out
    assert (tmp_path / "tickets-audit" / "report.html").is_file()


def test_the_monitor(tiny, towns: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = tiny()
    rows = tokenized(tokenizer, towns.head(120))
    trainer = trainer_of(model, tokenizer, rows, tmp_path, None, num_train_epochs=8)
    names = {"train_dataset": rows, "trainer": trainer}
    exec(PYTHON[1], names)
    assert trainer.state.global_step == trainer.state.max_steps
    assert capsys.readouterr().out.strip()
    assert names["monitor"].scores is not None
