"""What Slurm, its nodes or the worker refuse: one clear sentence before anything is half done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import memo_assets
from memo_assets.compute.errors import ExecutorError
from memo_assets_tests.slurm.conftest import Lab, Seen

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("partition", "nowhere", "Invalid partition name specified"),
        ("gres", "tpu:1", r"Invalid generic resource \(gres\) specification"),
        ("gres", "gpu:9", "Requested node configuration is not available"),
        ("memory", "900G", "Memory specification can not be satisfied"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_with_the_setting(
    lab: Lab, field: str, value: str, sentence: str
) -> None:
    study = lab.study(**{f"compute.slurm.{field}": value})
    lab.inputs(study)
    with pytest.raises(ExecutorError, match=sentence) as refused:
        lab.run(lab.items(study, [0, 1]))
    assert f"'{field}': '{value}'" in str(refused.value)
    assert "change compute.slurm of the study, or slurm.yaml in the warehouse directory" in str(refused.value)
    assert lab.living() == []
    assert lab.trained() == []
    # Nothing of it stands in the way of the next try.
    good = lab.study()
    assert lab.run(lab.items(good, [0, 1]))[0, 1].result.error is None


def copy_of_the_code(folder: Path) -> dict[str, object]:
    """Settings under which nodes run a copy of the package, that a test may change."""
    package = Path(memo_assets.__file__).parent
    shutil.copytree(package, folder / "memo_assets", ignore=shutil.ignore_patterns("__pycache__"))
    return {"compute.slurm.environment": {"PYTHONPATH": str(folder)}}


def test_code_changed_between_submission_and_start_is_refused(lab: Lab, tmp_path: Path) -> None:
    copy = copy_of_the_code(tmp_path / "copy")
    study = lab.study(**copy)
    lab.inputs(study)
    assert lab.run(lab.items(study, [0, 1]))[0, 1].result.error is None
    held = lab.study(**copy, **{"compute.slurm.sbatch": {"hold": True}})
    seen = Seen()
    from memo_assets.compute.slurm import executor

    def change_and_release(text: str) -> None:
        seen.states.append(text)
        if "JobHeldUser" in text:
            loop = tmp_path / "copy" / "memo_assets" / "training" / "loop.py"
            loop.write_text(loop.read_text() + "\n# changed\n")
            lab.cluster.call("scontrol", "release", *lab.living())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "on_state", change_and_release)
        patch.setattr(executor, "check_nodes", lambda *_: None)  # a held job never answers
        outcomes = lab.run(lab.items(held, [2, 3]), seen)
    error = str(outcomes[2, 3].result.error)
    assert error.startswith("this worker on ")
    assert "the code was changed after this was submitted, or another copy is installed there" in error
    assert lab.trained() == [0, 1]


def test_a_node_with_another_version_of_the_code_is_found_before_anything_is_sent(
    lab: Lab, tmp_path: Path
) -> None:
    copy = copy_of_the_code(tmp_path / "copy")
    (tmp_path / "copy" / "memo_assets" / "measures" / "extra.py").write_text("")
    study = lab.study(**copy)
    lab.inputs(study)
    with pytest.raises(ExecutorError, match="runs another version of memo_assets than this machine"):
        lab.run(lab.items(study, [0, 1]))
    assert not lab.ledger.folder.exists()


def test_a_python_that_is_not_there_is_found_before_anything_is_sent(lab: Lab) -> None:
    study = lab.study(**{"compute.slurm.python": "/nowhere/python"})
    lab.inputs(study)
    with pytest.raises(ExecutorError, match="nodes cannot run a worker") as refused:
        lab.run(lab.items(study, [0, 1]))
    assert "/nowhere/python" in str(refused.value)
    assert not lab.ledger.folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may hide a folder from the rest of the machine")
def test_a_warehouse_that_nodes_do_not_see_is_said(lab: Lab) -> None:
    # The submitting side sees a file system of its own where the nodes see the usual folder.
    script = (
        f"mount -t tmpfs tmpfs {lab.warehouse} && exec {sys.executable} -W ignore -c '"
        "from memo_assets.compute.slurm.probe import check_nodes; from memo_assets.compute.slurm.queue import SlurmQueue; "
        "from memo_assets.config import Slurm; from pathlib import Path; from memo_assets.cli_slurm import _Printing; "
        f'check_nodes(Slurm(requeues=1, notice_seconds=60, cpus=1), Path("{lab.warehouse}"), SlurmQueue(), _Printing())'
        "'"
    )
    run = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"{lab.warehouse} must lie on a file system that this machine and all nodes share" in run.stderr
    assert lab.living() == []


def test_without_slurm_the_way_out_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    study = lab.study()
    lab.inputs(study)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(ExecutorError, match="run this on a login node of the cluster"):
            lab.run(lab.items(study, [0, 1]))
