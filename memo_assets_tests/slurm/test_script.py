"""Settings and batch scripts: what can be said, in which order it holds, and how sbatch reads it. No Slurm needed."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memo_assets.cli import app
from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.slurm.script import array_script
from memo_assets.compute.slurm.settings import slurm_settings
from memo_assets.config import Slurm
from memo_assets_tests.compute.small_items import small_study
from memo_assets_tests.studies import DIGITS, changed, write_study

SITE = """
partition: site
account: me
qos: site
environment: {HF_HOME: /site, A: site}
sbatch: {hint: nomultithread}
by_asset:
  adapters: {qos: site adapters, time: "10:00:00"}
"""


def test_later_settings_win_and_names_are_merged(warehouse: Path) -> None:
    (warehouse / "slurm.yaml").write_text(SITE)
    study = small_study(
        {
            "compute.threads": 3,
            "compute.slurm": {
                "partition": "study",
                "environment": {"A": "study"},
                "sbatch": {"exclusive": True},
            },
            "compute.slurm_by_asset": {"adapters": {"time": "20:00:00"}, "logits": {"gres": "gpu:2"}},
        }
    )
    adapters, logits = (slurm_settings(study, step) for step in ("adapters", "logits"))
    assert (adapters.partition, adapters.account, adapters.qos) == ("study", "me", "site adapters")
    assert (logits.partition, logits.account, logits.qos) == ("study", "me", "site")
    assert (adapters.time, logits.time) == ("20:00:00", None)
    assert (adapters.gres, logits.gres) == (None, "gpu:2")
    assert adapters.environment == {"HF_HOME": "/site", "A": "study"}
    assert adapters.sbatch == {"hint": "nomultithread", "exclusive": True}
    assert adapters.cpus == 3
    assert (adapters.requeues, adapters.notice_seconds) == (10, 120)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("partitoin: gpu", "slurm.yaml: partitoin: unknown field; allowed: account, by_asset, constraint"),
        (
            "time: 20:00:00",
            "slurm.yaml:1: time: YAML reads 20:00:00 as a number; write it in quotes: '20:00:00'",
        ),
        ("sbatch: {time-min: 10:00:00}", "slurm.yaml:1: sbatch.time-min: YAML reads 10:00:00 as a number"),
        ("account: 12", "slurm.yaml: account: given 12; expected a string: write it in quotes"),
        ("time: soon", "slurm.yaml: time: given 'soon'; expected a time limit such as"),
        ("qos: a\nqos: b", "slurm.yaml:2: qos: given twice, in lines 1 and 2; keep one"),
        ("by_asset: {report: {}}", "slurm.yaml: by_asset.report"),
        ("sbatch: {array: 1-3}", "slurm.yaml: sbatch: --array is set by the platform itself: remove it"),
        ("{", "slurm.yaml: cannot be read as YAML"),
    ],
)
def test_a_wrong_file_of_the_site_is_named_with_field_and_reason(
    warehouse: Path, text: str, sentence: str
) -> None:
    (warehouse / "slurm.yaml").write_text(text)
    with pytest.raises(ExecutorError) as error:
        slurm_settings(small_study(), "adapters")
    assert sentence in str(error.value)


def test_a_file_of_the_site_may_lie_elsewhere(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.yaml").write_text("account: other")
    monkeypatch.setenv("MEMO_SLURM", str(tmp_path / "site.yaml"))
    assert slurm_settings(small_study(), "adapters").account == "other"
    monkeypatch.setenv("MEMO_SLURM", str(tmp_path / "nothing.yaml"))
    with pytest.raises(ExecutorError, match=r"MEMO_SLURM=.*nothing\.yaml is no file"):
        slurm_settings(small_study(), "adapters")


def script(settings: Slurm, folder: Path = Path("/shared/a folder")) -> str:
    return array_script(settings, folder, name="memo-x", tasks=13, threads=2)


def test_everything_a_cluster_script_says_can_be_said() -> None:
    settings = Slurm(
        partition="gpu_p2",
        account="abc@v100",
        qos="qos_gpu-t3",
        constraint="v100-32g",
        gres="gpu:1",
        cpus=10,
        memory="40G",
        time="20:00:00",
        parallel=4,
        requeues=3,
        notice_seconds=300,
        setup=["module purge", "module load pytorch-gpu/py3/2.1.1"],
        environment={"OMP_NUM_THREADS": "10", "HF_HOME": "/shared/it's mine"},
        python="singularity exec image.sif python",
        srun=["--cpu-bind=none"],
        sbatch={"hint": "nomultithread", "mail_user": "me@x.org", "exclusive": True, "nice": 5},
    )
    lines = script(settings).splitlines()
    for flag in (
        "partition=gpu_p2",
        "account=abc@v100",
        "qos=qos_gpu-t3",
        "constraint=v100-32g",
        "gres=gpu:1",
        "cpus-per-task=10",
        "mem=40G",
        "time=20:00:00",
        "array=0-12%4",
        "signal=USR2@300",
        "hint=nomultithread",
        "mail-user=me@x.org",
        "exclusive",
        "nice=5",
        "requeue",
        "nodes=1",
    ):
        assert f"#SBATCH --{flag}" in lines
    order = [
        "export OMP_NUM_THREADS=10",
        "export MKL_NUM_THREADS=2",
        "export HF_HUB_OFFLINE=1",
        "export MEMO_SLURM_REQUEUES=3",
        """export HF_HOME='/shared/it'"'"'s mine'""",
        "module purge",
        "module load pytorch-gpu/py3/2.1.1",
    ]
    places = [lines.index(line) for line in order]
    assert places == sorted(places)
    assert "export OMP_NUM_THREADS=2" not in lines
    assert lines[-1].startswith("srun --unbuffered --output ")
    assert "--cpu-bind=none bash -c" in lines[-1]
    assert "singularity exec image.sif python -u -P -m memo_assets.compute.worker" in lines[-1]


def test_nothing_is_asked_for_that_was_not_said() -> None:
    flags = [
        line
        for line in script(Slurm(requeues=1, notice_seconds=9)).splitlines()
        if line.startswith("#SBATCH")
    ]
    names = {flag.split()[1].split("=")[0] for flag in flags}
    assert names == {
        "--array", "--job-name", "--nodes", "--open-mode", "--output", "--requeue", "--signal",
    }  # fmt: skip


def test_the_script_is_valid_shell_and_hands_the_worker_its_own_item(tmp_path: Path) -> None:
    folder = tmp_path / "with 'quotes' and spaces"
    folder.mkdir()
    items = [folder / f"item {number}.json" for number in range(3)]
    (folder / "items.txt").write_text("".join(f"{path}\n" for path in items))
    settings = Slurm(requeues=1, notice_seconds=9, python="python3", environment={"X": "a 'b' $c"})
    text = script(settings, folder)
    # srun and the worker are replaced by something that shows what it is given.
    text = text.replace("srun --unbuffered", "show").replace("-u -P -m memo_assets.compute.worker", "")
    shown = 'show() { shift 2; "$@"; }; python3() { :; }\n'
    shown += 'bash() { shift 3; printf "%s|" "${@: -1}" "$X"; }\n'
    run = subprocess.run(
        ["bash", "-eu", "-c", shown + text],
        env={"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{items[2]}|a 'b' $c|"


def test_the_preview_counts_tasks_and_writes_nothing(warehouse: Path, tmp_path: Path) -> None:
    attributes = changed(DIGITS, {"shadows.models": 100, "compute.pack": 8, "compute.slurm.gres": "gpu:1"})
    path = write_study(tmp_path / "tiny", attributes)
    result = CliRunner().invoke(app, ["slurm", "preview", str(path)])
    assert result.exit_code == 0, result.output
    head = "# tiny/adapters: 13 tasks of up to 8 split seeds; the first seeds 0 to 7 (8), the last seeds 96 to 99 (4)"
    assert head in result.output
    assert "# tiny/layer_scores: 1 task of up to 1 split seed" in result.output
    assert result.output.count("#SBATCH --gres=gpu:1") == 4
    assert result.output.count("#SBATCH --array=0-12%13") == 2
    assert list(warehouse.iterdir()) == []
    one = CliRunner().invoke(app, ["slurm", "preview", str(path), "--asset", "logits"])
    assert one.output.count("#!/bin/bash") == 1
    wrong = CliRunner().invoke(app, ["slurm", "preview", str(path), "--asset", "base_model"])
    assert wrong.exit_code == 1
    assert "study tiny has audit, adapters, logits, layer_scores" in wrong.output


README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_settings_printed_in_the_readme_are_valid(warehouse: Path) -> None:
    (text,) = re.findall(r"slurm\.yaml <<'EOF'\n(.*?)\nEOF", README, flags=re.DOTALL)
    (warehouse / "slurm.yaml").write_text(text)
    assert slurm_settings(small_study(), "adapters").time == "20:00:00"
    assert slurm_settings(small_study(), "layer_scores").time == "02:00:00"
    assert slurm_settings(small_study(), "adapters").environment == {"HF_HOME": "/shared/me/huggingface"}


def test_the_readme_names_every_setting() -> None:
    section = README.split("## On a Slurm cluster")[1].split("## How it is built")[0]
    for field in Slurm.model_fields:
        assert f"`{field}`" in section, field
