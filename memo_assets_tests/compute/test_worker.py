"""The worker: what it refuses, how it reports, when it ends."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memo_assets.compute import locks, worker
from memo_assets.compute.items import ItemResult, Progress, WorkItem
from memo_assets.compute.source import source_version
from memo_assets.compute.worker import PARENT_VARIABLE, ProgressFile, main
from memo_assets.store.files import read_json, write_json

from .helpers import another_worker
from .small_items import ENDLESS, item, small_study, write_inputs


def write_item(given: WorkItem) -> Path:
    path = given.folder / "item.json"
    write_json(path, given.model_dump(mode="json"))
    return path


def result_of(given: WorkItem) -> ItemResult:
    return ItemResult.model_validate(read_json(given.folder / "result.json"))


def test_another_code_version_is_refused_before_anything_heavy(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [0], code_version="of yesterday")
    assert main(write_item(given)) == 1
    error = result_of(given).error
    assert error is not None
    assert error.startswith("this worker runs code version ")
    assert error.endswith(
        " of tiny/adapters, the item was made by of yesterday: reload the code location and materialize again"
    )


def test_another_source_is_refused_with_both_and_what_to_do(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [0], source="of yesterday")
    assert main(write_item(given)) == 1
    assert result_of(given).error == (
        f"this worker on {platform.node()} runs source {source_version()} of memo_assets, the item was made by source of "
        "yesterday: the code was changed after this was submitted, or another copy is installed there; reload the code "
        "location and materialize again"
    )


@pytest.mark.parametrize("theirs", [[0], [1, 0]])
def test_a_second_worker_on_the_same_seed_refuses(
    warehouse: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, theirs: list[int]
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.1)
    given = item(warehouse, small_study(), "adapters", [0])
    path = write_item(given)
    with another_worker(item(warehouse, small_study(), "adapters", theirs)):
        assert main(path) == 3
    assert (
        capsys.readouterr().err
        == "another worker is computing tiny/adapters, seed 0 right now; wait for it or end it\n"
    )
    assert not (given.folder / "result.json").exists()


def test_an_error_meant_for_the_user_is_one_sentence(warehouse: Path) -> None:
    study = small_study()
    layout = write_inputs(warehouse, study)
    # The mask of a larger data set: 90 images have no sample 90.
    write_inputs(warehouse, small_study({"data.items": 180}))
    masks = layout.split_mask(0).read_bytes()
    write_inputs(warehouse, study)
    layout.split_mask(0).write_bytes(masks)
    given = item(warehouse, study, "adapters", [0])
    assert main(write_item(given)) == 1
    result = result_of(given)
    assert result.error == (
        f"split mask of seed 0 names samples that {layout.samples} does not hold: materialize tiny/split_masks again"
    )
    assert result.seeds == {}
    assert result.seconds > 0
    assert result.peak_memory_bytes > 10_000_000


def test_seconds_count_over_all_attempts(warehouse: Path) -> None:
    given = item(warehouse, small_study(), "adapters", [0], code_version="of yesterday")
    path = write_item(given)
    write_json(given.folder / "attempts.json", {"seconds": 100.0})
    main(path)
    assert 100 <= result_of(given).seconds < 160


def test_an_unforeseen_error_bears_its_type_and_the_log_its_trace(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = item(warehouse, small_study(), "adapters", [0])
    assert main(write_item(given)) == 1
    error = result_of(given).error
    assert error is not None
    assert error.startswith("FileNotFoundError: ")
    assert "samples.parquet" in error
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_said_in_the_log(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = item(warehouse, small_study(), "adapters", [0], code_version="x")
    path = write_item(given)

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write_json", full)
    assert main(path) == 1
    assert (
        "the result cannot be written: OSError: [Errno 28] No space left on device" in capsys.readouterr().err
    )


def test_a_worker_ends_when_its_submitter_is_gone(warehouse: Path) -> None:
    study = small_study(ENDLESS)
    write_inputs(warehouse, study)
    path = write_item(item(warehouse, study, "adapters", [0]))
    environment = {**os.environ, PARENT_VARIABLE: "1"}
    command = [sys.executable, "-m", "memo_assets.compute.worker", str(path)]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == 4


def test_progress_is_written_at_most_twice_a_second_but_always_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    report = ProgressFile(tmp_path)
    seen = []
    for step, after in enumerate([0.0, 0.1, 0.3, 0.2, 0.1], start=1):
        now[0] += after
        report(step, 5)
        seen.append(Progress.model_validate(read_json(tmp_path / "progress.json")).done)
    assert seen == [1, 1, 1, 4, 5]


def test_serving_answers_each_item_with_its_code_and_logs_what_is_printed(warehouse: Path) -> None:
    first, second = (
        item(warehouse, small_study(), "adapters", [seed], code_version="of yesterday") for seed in (0, 1)
    )
    lines = "".join(f"{write_item(given)}\n" for given in (first, second))
    command = [sys.executable, "-m", "memo_assets.compute.worker", "--serve", "this"]  # a module that prints
    with another_worker(second):
        run = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout == "1\n3\n"
    assert run.stderr.startswith("The Zen of Python")
    assert "StaleItemError" in (first.folder / "log.txt").read_text()
    assert (second.folder / "log.txt").read_text() == (
        "another worker is computing tiny/adapters, seed 1 right now; wait for it or end it\n"
    )
