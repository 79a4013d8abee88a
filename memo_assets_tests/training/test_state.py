"""Runs killed by the operating system and resumed."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from memo_assets.config import Training
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.state import BrokenStateError, stored_step
from memo_assets.training.vision import VisionTask

from . import language_task, recipe, resnet_task, train_rows, vision_task

SEEDS = [2, 7, 9]
PLAN = recipe(3, [0.0, 0.4, 1.0, 2.0, 3.0])
SGD = {"optimizer": "sgd", "momentum": 0.9, "max_grad_norm": None}


def _task(kind: str) -> LanguageTask | VisionTask:
    if kind == "resnet":
        return resnet_task(SEEDS)
    return vision_task(SEEDS) if kind == "vision" else language_task(SEEDS, dropout=0.2)


def _run(kind: str, directory: Path, place: str = "", at: int = -1) -> LanguageTask | VisionTask:
    """Train with files at every checkpoint; the process kills itself at a place, if one is named."""
    torch.set_num_threads(1)
    task = _task(kind)

    def kill_if(here: str, step: int) -> None:
        if (here, step) == (place, at):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_checkpoint(epoch: float, step: int, stats: CheckpointStats) -> None:
        for k, seed in enumerate(SEEDS):
            task.export(k, directory / f"{seed}-{epoch:g}")
            kill_if("export", step)

    if place == "rename":
        rename = Path.replace

        def replace(self: Path, target: Path) -> Path:
            if target.name == "state" and at == len(list(directory.glob("2-*"))):
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.replace = replace  # pyright: ignore[reportAttributeAccessIssue]
    train(
        task,
        train_rows(SEEDS),
        PLAN if kind != "resnet" else recipe(3, [0.0, 0.4, 1.0, 2.0, 3.0], **SGD),
        state_path=directory / "state",
        on_checkpoint=on_checkpoint,
        on_progress=lambda step, _total: kill_if("step", step),
    )
    return task


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("language", [("step", 1), ("export", 5), ("step", 12)]),
        ("vision", [("export", 0), ("step", 8), ("rename", 4)]),
        ("resnet", [("step", 4), ("export", 5), ("step", 13)]),
    ],
)
def test_a_killed_and_resumed_run_ends_with_bit_equal_weights(
    tmp_path: Path, kind: str, kills: list[tuple[str, int]]
) -> None:
    whole = _run(kind, tmp_path / "whole")
    spawn = multiprocessing.get_context("spawn")
    for place, at in kills:
        child = spawn.Process(target=_run, args=(kind, tmp_path / "killed", place, at))
        child.start()
        child.join(300)
        assert child.exitcode == -signal.SIGKILL
    resumed = _run(kind, tmp_path / "killed")
    assert all(torch.equal(p, resumed.parameters()[name]) for name, p in whole.parameters().items())
    assert all(torch.equal(p, resumed.buffers()[name]) for name, p in whole.buffers().items())
    for path in sorted((tmp_path / "whole").rglob("*.safetensors")):
        twin = tmp_path / "killed" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == twin.read_bytes(), path


def test_a_finished_run_calls_nothing_and_has_its_weights(tmp_path: Path) -> None:
    first = _run("vision", tmp_path)
    again = vision_task(SEEDS)

    def fail(*_: object) -> None:
        raise AssertionError("a finished run must not go on")

    train(again, train_rows(SEEDS), PLAN, state_path=tmp_path / "state", on_checkpoint=fail, on_progress=fail)
    assert all(torch.equal(p, again.parameters()[name]) for name, p in first.parameters().items())


@pytest.mark.parametrize(
    ("seeds", "plan", "differing"),
    [
        ([2, 7, 8], PLAN, "seeds: .*there, .*here"),
        (SEEDS, recipe(3, [0.0, 0.4, 1.0, 2.0, 3.0], learning_rate=1e-3), "recipe: "),
    ],
)
def test_the_state_of_another_run_is_refused(
    tmp_path: Path, seeds: list[int], plan: Training, differing: str
) -> None:
    _run("vision", tmp_path)
    with pytest.raises(ValueError, match=f"state of another training run .*{differing}"):
        train(
            vision_task(seeds),
            train_rows(seeds),
            plan,
            state_path=tmp_path / "state",
            on_checkpoint=lambda *_: None,
        )


def test_settings_of_the_adapters_are_part_of_the_run(tmp_path: Path) -> None:
    plan, rows = recipe(1), train_rows([1])
    train(language_task([1]), rows, plan, state_path=tmp_path / "s", on_checkpoint=lambda *_: None)
    other = language_task([1], alpha=16.0)
    with pytest.raises(ValueError, match="settings: "):
        train(other, rows, plan, state_path=tmp_path / "s", on_checkpoint=lambda *_: None)


@pytest.mark.parametrize("damage", ["empty", "half", "short by a byte", "zeros", "one bit"])
def test_a_damaged_state_is_named_with_the_way_out(tmp_path: Path, damage: str) -> None:
    rows, state = train_rows([1]), tmp_path / "state"
    train(vision_task([1]), rows, recipe(1), state_path=state, on_checkpoint=lambda *_: None)
    assert stored_step(state) == 5
    content = state.read_bytes()
    damaged = {
        "empty": b"",
        "half": content[: len(content) // 2],
        "short by a byte": content[:-1],
        "zeros": bytes(len(content)),
        "one bit": content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    }
    state.write_bytes(damaged[damage])
    with pytest.raises(BrokenStateError, match=r"state cannot be read .*: remove it and materialize again"):
        train(vision_task([1]), rows, recipe(1), state_path=state, on_checkpoint=lambda *_: None)
    with pytest.raises(BrokenStateError, match="cannot be read"):
        stored_step(state)
    with pytest.raises(FileNotFoundError):
        stored_step(tmp_path / "nowhere")
