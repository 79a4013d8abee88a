"""`memo audit`, `memo verify` and `memo doctor` as commands, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from memo_assets.config import CitiesData
from memo_assets.data.cities import load_cities

FILES = {"audit.json", "at_risk.csv", "at_risk.parquet", "report.html"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with towns.csv, 200 rows; quotes, line breaks and markup in texts, ids in a column."""
    folder = tmp_path_factory.mktemp("home")
    items, _ = load_cities(CitiesData(source="cities", countries=["BR", "CN", "DE", "IN"], items=200), 2)
    texts = items["text"].tolist()
    texts[:3] = ['a "quoted", town', "two\nlines", "<script>document.title = 'obeyed'</script>"]
    frame = pd.DataFrame({"id": [f"t{row}" for row in range(200)], "name": texts, "country": items["label"]})
    frame.to_csv(folder / "towns.csv", index=False)
    return folder


def memo(home: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        command(*arguments), cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )
    assert run.returncode == code, run.stdout + run.stderr
    return run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "memo_assets.cli", *arguments]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "MEMO_WAREHOUSE": str(home / "warehouse"), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


AUDIT = ("audit", "towns.csv", "--text", "name", "--label", "country", "--id", "id", "--model", "tiny")


def test_audit_then_verify(home: Path) -> None:
    run = memo(home, *AUDIT, "--canaries", "10", "--show-text", "--fail-above", "1")
    assert "samples at risk" in run.stdout
    assert "control wrong_label, expected flagged" in run.stdout
    folder = home / "towns-audit"
    assert {path.name for path in folder.iterdir()} == FILES
    assert "whole: schema 1.0" in memo(home, "verify", "towns-audit").stdout
    table = pd.read_csv(folder / "at_risk.csv")
    assert set(table["item_id"]) == {f"t{row}" for row in range(200)}
    assert "two\nlines" in set(table["text"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>document.title = 'obeyed'" not in page
    (folder / "at_risk.csv").write_text("rank\n", encoding="utf-8")
    assert "at_risk.csv: SHA-256 is" in memo(home, "verify", "towns-audit", code=1).stderr


def test_a_killed_audit_goes_on(home: Path) -> None:
    def rows(folder: Path) -> list[dict]:
        return pd.read_parquet(folder / "at_risk.parquet").to_dict("records")

    options = (*AUDIT, "--canaries", "0", "--epochs", "3", "--drop", "0.999")
    memo(home, *options, "--out", "whole")
    killed = subprocess.Popen(command(*options, "--out", "killed"), cwd=home, env=environment(home))
    work = home / "killed" / ".work"
    deadline = time.monotonic() + 120
    while not list(work.glob("*/passes/epoch=1.0.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert list(work.glob("*/training.safetensors"))
    memo(home, *options, "--out", "killed")
    assert {path.name for path in (home / "killed").iterdir()} == FILES
    whole, again = rows(home / "whole"), rows(home / "killed")
    assert str(whole) == str(again)  # nan is equal to itself as text


def test_an_interrupted_audit_says_how_to_go_on(home: Path) -> None:
    options = (*AUDIT, "--canaries", "0", "--epochs", "50", "--drop", "0.9999", "--out", "stopped")
    run = subprocess.Popen(
        command(*options),
        cwd=home,
        env=environment(home),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    work = home / "stopped" / ".work"
    deadline = time.monotonic() + 120
    while not list(work.glob("*/training.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "the same command goes on there" in errors
    assert "Traceback" not in errors
    assert list(work.glob("*/training.safetensors"))


def test_fail_above_ends_with_code_2_and_json_alone_is_printed(home: Path) -> None:
    run = memo(
        home,
        *AUDIT,
        "--epochs",
        "1",
        "--drop",
        "0.5",
        "--json",
        "--fail-above",
        "0",
        "--out",
        "strict",
        code=2,
    )
    summary = json.loads(run.stdout)
    assert summary["risk"]["share"]["value"] > 0
    assert summary["schema_version"] == "1.0"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--text", "nothing", "--label", "country"), "no column 'nothing' (text)"),
        (("--text", "name", "--label", "name"), "more than 16"),
        (("--text", "name", "--label", "country", "--drop", "2"), "--drop: given 2.0"),
        (("--text", "name", "--label", "country", "--model", "/no/model"), "no base model '/no/model'"),
        (("--text", "name", "--label", "country", "--out", "."), "--out: . is there and holds no audit"),
        (("--text", "name", "--label", "country", "--shadows", "9"), "shadows = 9; expected an even number"),
    ],
)
def test_bad_options_get_one_sentence(home: Path, arguments: tuple[str, ...], sentence: str) -> None:
    run = memo(home, "audit", "towns.csv", *arguments, code=1)
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.count("error:") == 1


def test_doctor_looks_at_everything_and_names_the_fix(home: Path, tmp_path: Path) -> None:
    found = {one["name"]: one for one in json.loads(memo(home, "doctor", "--format", "json").stdout)}
    assert {
        "python",
        "packages",
        "device",
        "memory",
        "warehouse",
        "database",
        "browser",
        "smollm2",
        "hub",
        "slurm",
    } == set(found)
    assert all(one["fix"] for one in found.values() if one["state"] != "fine")
    assert found["packages"]["state"] == "fine"
    assert "Looked at" in memo(home, "doctor").stdout


def test_doctor_finds_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "memo.duckdb").write_bytes(b"no database" * 100)
    run = subprocess.run(
        command("doctor", "--format", "json"),
        env={**environment(tmp_path), "MEMO_EXECUTOR": "slurm", "PATH": str(tmp_path)},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    found = {one["name"]: one for one in json.loads(run.stdout)}
    assert found["database"]["state"] == "broken"
    assert "memo demo builds it anew" in found["database"]["fix"]
    assert found["slurm"]["state"] == "broken"
    assert found["browser"]["state"] in ("note", "fine")
