"""Training that is asked to stop, and goes on later."""

import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from memo_assets.training.interruption import Interrupted, never
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.state import stored_step
from memo_assets.training.vision import VisionTask

from . import language_task, recipe, resnet_task, train_rows, vision_task

SEEDS = [2, 7, 9]
POINTS = [0.0, 0.4, 1.0, 2.0, 3.0]
PLANS = {
    "vision": recipe(3, POINTS),
    "language": recipe(3, POINTS),
    "resnet": recipe(
        3, POINTS, optimizer="sgd", momentum=0.9, max_grad_norm=None, accumulation=2, batch_size=4
    ),
}
STEPS = 15  # 37 samples in batches of 8: one batch of each epoch is smaller


class KilledError(BaseException):
    """Like SIGKILL: nothing of the loop's own code runs after it."""


class Run:
    """A run in a folder, in as many attempts as it takes, each with models of its own."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.state = kind, folder / "state"
        self.steps: list[int] = []
        self.stats: list[tuple[float, int, CheckpointStats]] = []
        self.weights: dict[str, torch.Tensor] = {}

    def attempt(self, stop_at: Container[int] = (), kill_at: int = -1) -> None:
        """Train on, until asked to stop after a step or killed at one."""

        def on_progress(step: int, total: int) -> None:
            assert total == STEPS
            if step == kill_at:
                raise KilledError
            self.steps.append(step)

        task: LanguageTask | VisionTask
        if self.kind == "language":
            task = language_task(SEEDS, dropout=0.2)
        else:
            task = vision_task(SEEDS) if self.kind == "vision" else resnet_task(SEEDS)
        train(
            task,
            train_rows(SEEDS, 37),
            PLANS[self.kind],
            state_path=self.state,
            on_checkpoint=lambda *seen: self.stats.append(seen),
            on_progress=on_progress,
            should_stop=lambda: self.steps[-1] in stop_at,
        )
        tensors = task.parameters() | task.buffers()
        self.weights = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def interrupted(self, stop_at: Container[int]) -> Interrupted:
        with pytest.raises(Interrupted) as caught:
            self.attempt(stop_at)
        return caught.value


@pytest.fixture(scope="module", params=["vision", "language", "resnet"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(request.param, tmp_path_factory.mktemp("whole"))
    run.attempt()
    return run


def assert_the_same(run: Run, whole: Run) -> None:
    assert run.weights.keys() == whole.weights.keys()
    assert all(torch.equal(run.weights[name], weight) for name, weight in whole.weights.items())
    state, expected = load_file(run.state), load_file(whole.state)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert [(epoch, step) for epoch, step, _ in run.stats] == [
        (epoch, step) for epoch, step, _ in whole.stats
    ]
    assert run.stats[0][2] == whole.stats[0][2] == CheckpointStats(0.0, None, None)
    for (_, _, found), (_, _, wanted) in zip(run.stats[1:], whole.stats[1:], strict=True):
        assert found.learning_rate == wanted.learning_rate
        np.testing.assert_array_equal(found.mean_loss, wanted.mean_loss, strict=True)
        np.testing.assert_array_equal(found.median_loss, wanted.median_loss, strict=True)


@pytest.mark.parametrize("step", [1, 4, 5, 7, 14])
def test_an_interrupted_and_resumed_run_equals_an_undisturbed_one(
    tmp_path: Path, whole: Run, step: int
) -> None:
    run = Run(whole.kind, tmp_path)
    stop = run.interrupted({step})
    assert (stop.done, stop.total, stop.unit, stop.began, stop.progressed) == (step, STEPS, "steps", 0, True)
    assert stored_step(run.state) == step
    run.attempt()
    assert run.steps == list(range(1, STEPS + 1))
    assert_the_same(run, whole)


def test_a_run_interrupted_after_every_step_equals_an_undisturbed_one(tmp_path: Path, whole: Run) -> None:
    run = Run(whole.kind, tmp_path)
    for step in range(1, STEPS):
        stop = run.interrupted(range(STEPS + 1))
        assert (stop.done, stop.began) == (step, step - 1)
    run.attempt(stop_at=range(STEPS + 1))
    assert run.steps == list(range(1, STEPS + 1))
    assert_the_same(run, whole)


def test_a_run_killed_after_an_interruption_goes_on_from_it(tmp_path: Path, whole: Run) -> None:
    run = Run(whole.kind, tmp_path)
    run.interrupted({7})
    with pytest.raises(KilledError):
        run.attempt(kill_at=10)
    run.attempt()
    assert run.steps == [*range(1, 10), *range(8, STEPS + 1)]
    assert_the_same(run, whole)


def test_the_last_step_ends_the_run_whatever_is_asked(tmp_path: Path, whole: Run) -> None:
    run = Run(whole.kind, tmp_path)
    run.attempt(stop_at={STEPS})
    assert_the_same(run, whole)


def test_losses_are_stored_between_checkpoints_only(tmp_path: Path) -> None:
    run = Run("vision", tmp_path)
    seen = {}
    for step in range(1, STEPS):
        run.interrupted({step})
        seen[step] = load_file(run.state).get("losses")
    assert [step for step, losses in seen.items() if losses is None] == [2, 5, 10]
    assert [seen[step].shape for step in (6, 9)] == [(3, run_width(6)), (3, run_width(6, 7, 8, 9))]


def run_width(*steps: int) -> int:
    """Samples of each model in some steps of the plan."""
    from memo_assets.training.batches import pack_batches

    rows, lengths = train_rows(SEEDS, 37), np.ones(64, dtype=np.int64)
    epochs = [pack_batches(rows, lengths, epoch, seeds=SEEDS, batch_size=8) for epoch in range(3)]
    batches = [batch for epoch in epochs for batch in epoch]
    return sum(batches[step - 1].shape[1] for step in steps)


def test_an_interruption_says_where_it_stands_and_whether_it_got_further() -> None:
    stop = Interrupted(40, 500, "steps", began=12)
    assert str(stop) == "interrupted at step 40 of 500"
    assert stop.progressed
    assert not Interrupted(40, 500, "steps", began=40).progressed
    anew = Interrupted(3, 16, "checkpoints", kept=False)
    assert str(anew) == "interrupted at checkpoint 3 of 16, which starts anew the next time"
    assert not anew.progressed
    assert not never()


def test_the_module_of_interruptions_loads_without_torch() -> None:
    script = "import sys, memo_assets.training.interruption; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
