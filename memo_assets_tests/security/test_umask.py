"""What the platform writes is its owner's alone, whatever the umask of the shell, unless MEMO_UMASK says otherwise."""

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memo_assets.compute.slurm.script import array_script
from memo_assets.config import Slurm
from memo_assets.store.files import folder_in_the_making, give_usual_rights, write_json
from memo_assets.store.umask import UmaskError, chosen_umask
from memo_assets_tests.command_line import refused
from memo_assets_tests.compute.small_items import item, small_study, write_inputs
from memo_assets_tests.security.conftest import Ran, open_process

LOADED = """
import os
from memo_assets.definitions import defs
defs()
print(f"{os.umask(0):03o}")
"""


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):03o}"


def test_a_run_leaves_files_for_its_owner_alone(ran: Ran) -> None:
    paths = list(ran.warehouse.rglob("*"))
    names = {path.name for path in paths}
    assert {"memo.duckdb", "dagster_home", "runs.db", "log.txt", "result.json", "report.html"} <= names
    assert {mode(path) for path in paths if path.is_dir()} == {"700"}
    assert {mode(path) for path in paths if path.is_file()} == {"600"}
    assert mode(ran.warehouse) == "700"


def test_a_group_may_share_the_work_of_a_worker(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [0])
    layout = write_inputs(warehouse, given.study)
    write_json(given.folder / "item.json", given.model_dump(mode="json"))
    run = open_process(
        "-m",
        "memo_assets.compute.worker",
        str(given.folder / "item.json"),
        environment={"MEMO_UMASK": "027"},
    )
    assert run.returncode == 0, run.stderr
    made = list(layout.adapters(0).rglob("*"))
    assert {mode(path) for path in made if path.is_dir()} == {"750"}
    assert {mode(path) for path in (*made, given.folder / "result.json") if path.is_file()} == {"640"}


@pytest.mark.parametrize("given", ["", "022"])
def test_the_code_location_sets_it_for_the_steps_that_run_there(warehouse: Path, given: str) -> None:
    run = open_process("-c", LOADED, environment={"MEMO_UMASK": given})
    assert run.stdout == f"{given or '077'}\n", run.stderr
    assert list(warehouse.iterdir()) == []


def test_tasks_of_a_cluster_are_given_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, written in (("", "077"), ("27", "027")):
        monkeypatch.setenv("MEMO_UMASK", given)
        script = array_script(Slurm(), tmp_path, name="x", tasks=1, threads=1)
        assert f"export MEMO_UMASK={written}\n" in script


@pytest.mark.parametrize("given", ["rwx", "0o27", "8", "777", "0277", "-1", " 027", "٢٧", "27\n"])
def test_no_umask_is_one_sentence(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_UMASK", given)
    with pytest.raises(UmaskError):
        chosen_umask()
    assert refused("study", "list") == (
        f"MEMO_UMASK={given!r} is no umask from 000 to 077; leave it out for files of your own, or set it to 027 where a "
        "group shares the warehouse"
    )


def test_a_worker_says_it_too(tmp_path: Path) -> None:
    run = open_process(
        "-m", "memo_assets.compute.worker", "none.json", environment={"MEMO_UMASK": "everybody"}
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: MEMO_UMASK='everybody' is no umask from 000 to 077; ")


def test_a_folder_in_the_making_follows_the_umask_and_is_removed(tmp_path: Path) -> None:
    final = tmp_path / "above" / "model"
    with folder_in_the_making(final) as folder:  # tests run with the umask 022
        (folder / "weights").touch()
        assert mode(folder) == "755"
        folder.rename(final)
    with pytest.raises(RuntimeError), folder_in_the_making(tmp_path / "above" / "other"):
        raise RuntimeError
    assert [path.name for path in (tmp_path / "above").iterdir()] == ["model"]


def test_weights_follow_the_umask_like_any_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    save_file({"a": torch.zeros(2)}, folder / "part" / "model.safetensors")
    assert mode(folder / "part" / "model.safetensors") == "600"  # why they need it
    give_usual_rights(folder)
    assert mode(folder / "part" / "model.safetensors") == "644"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
