"""The command line: what it shows, what it refuses, and its exit codes."""

import json
import re
from pathlib import Path

import pytest

from memo_assets.study import load_studies
from memo_assets_tests.command_line import memo, refused
from memo_assets_tests.studies import DIGITS, changed, line_of, write_study


def test_help_says_what_there_is() -> None:
    text = memo("--help").stdout
    for command in ("demo", "ui", "sql", "status", "compare", "fetch", "study", "slurm"):
        assert re.search(rf"^\W*{command}\s", text, re.MULTILINE), command
    assert "which training samples a model is about to memorize" in " ".join(text.split())
    assert memo().stdout.strip() == text.strip()


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["sql"], ["read-only", "--file", "--schema", "--format", "--limit"]),
        (["status"], ["fresh, stale (and why), missing or failed", "--format"]),
        (["compare"], ["named, and left out"]),
        (["study"], ["list", "check", "new"]),
        (["slurm"], ["preview", "check"]),
        (["slurm", "preview"], ["batch scripts", "nothing is sent", "--asset"]),
        (["fetch"], ["for nodes without internet"]),
        (["study", "check"], ["nothing is written", "defs.yaml"]),
        (["study", "list"], ["built-in studies and your own"]),
    ],
)
def test_every_command_explains_itself(arguments: list[str], texts: list[str]) -> None:
    result = memo(*arguments, "--help")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.replace("│", " ").split())
    for text in texts:
        assert text in shown


@pytest.mark.parametrize("command", [["sql", "FROM samples"], ["compare"]])
def test_without_a_warehouse_it_says_what_to_do(command: list[str], warehouse: Path) -> None:
    assert refused(*command) == (
        f"no warehouse at {warehouse}/memo.duckdb: run `make demo` (or `memo demo`), or set MEMO_WAREHOUSE to its directory"
    )
    assert list(warehouse.iterdir()) == []


def test_study_list(warehouse: Path) -> None:
    result = memo("study", "list")
    assert result.exit_code == 0
    for text in ("cities", "digits", "tiny_llama", "mlp", "Handwritten digits, MLP"):
        assert text in result.stdout


def test_study_check_of_a_good_study(tmp_path: Path, warehouse: Path) -> None:
    path = write_study(tmp_path / "mine", DIGITS)
    result = memo("study", "check", str(path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "study: tiny",
        "samples: 90 (80 pool, 10 test)",
        "noisy labels: 0",
        "models: 4, each trained on 40 samples",
        "steps: 10 (5 per epoch), 3 checkpoints",
        "fine",
    ]
    assert list(warehouse.iterdir()) == []


def test_study_check_of_a_bad_study(tmp_path: Path) -> None:
    path = write_study(
        tmp_path / "mine", changed(DIGITS, {"training.epochs": "[red]two[/]", "noise.share": 2})
    )
    # Markup in what was given is shown as it is, and long lines are not broken.
    assert refused("study", "check", str(path.parent)).splitlines() == [
        f"{path}:{line_of(path, 'share')}: noise.share: given 2; input should be less than or equal to 1",
        f"{path}:{line_of(path, 'epochs')}: training.epochs: given '[red]two[/]'; input should be a valid integer",
    ]


def test_study_check_of_bad_data(tmp_path: Path) -> None:
    write_study(tmp_path, changed(DIGITS, {"data.items": 1798}))
    assert refused("study", "check", str(tmp_path)).startswith(
        "study tiny: data.items = 1798, but scikit-learn's"
    )


@pytest.mark.parametrize("command", [["study", "check"], ["status"]])
def test_an_unknown_study_is_answered_with_the_known_ones(warehouse: Path, command: list[str]) -> None:
    assert re.match("no study 'mnist': expected one of .*cities.*digits", refused(*command, "mnist"))


def test_status_before_anything_was_run(tmp_path: Path, warehouse: Path) -> None:
    path = write_study(tmp_path / "mine", DIGITS)
    result = memo("status", str(path))
    assert result.exit_code == 0
    assert "Tiny digits (tiny)" in result.stdout
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if line.count("│") > 4}
    assert "base_model" not in lines
    for name, partitions in {
        "samples": 1,
        "split_masks": 4,
        "adapters": 4,
        "layer_scores": 1,
        "shadow_logits": 1,
    }.items():
        cells = [cell.strip() for cell in lines[name].split("│")[1:-1]]
        assert cells == [name, "", "", str(partitions), "", "never materialized"]
    assert [cell.strip() for cell in lines["source"].split("│")[1:-1]] == ["source", "1", "", "", "", ""]
    assert not (warehouse / "memo.duckdb").exists()


def test_status_of_all_studies_is_a_line_each(warehouse: Path) -> None:
    result = memo("status")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.count("│") > 4]
    assert len(lines) == len(load_studies())
    assert all("never run" in line for line in lines)


def test_status_as_json(tmp_path: Path, warehouse: Path) -> None:
    write_study(tmp_path / "mine", DIGITS)
    (record,) = json.loads(memo("status", str(tmp_path / "mine"), "--format", "json").stdout)
    assert record["study"] == "tiny"
    (adapters,) = [asset for asset in record["assets"] if asset["asset"] == "adapters"]
    never = {"state": "missing", "cause": "never materialized", "partitions": ["0", "1", "2", "3"]}
    assert adapters == {"asset": "adapters", "fresh": 0, "stale": 0, "missing": 4, "failed": 0, "not_fresh": [never]}  # fmt: skip
    assert refused("status", "--format", "csv") == "--format: given 'csv'; expected table or json"


@pytest.mark.parametrize("command", [["demo"], ["status"], ["ui"], ["slurm", "check", "digits"]])
def test_an_unknown_executor_is_one_sentence(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_EXECUTOR", "slrum")
    result = memo(*command)
    assert result.exit_code == 1
    assert result.stderr.strip() == "error: MEMO_EXECUTOR: given 'slrum'; expected one of local, slurm"
