"""The trigger of a recipe: the watch against a plain loop over one model, and the loop that keeps it."""

from collections.abc import Container
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from memo_assets.config import Trigger
from memo_assets.training.interruption import Interrupted
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.trigger import Triggered, TriggerWatch
from memo_assets.training.vision import VisionTask

from . import language_task, recipe, train_rows, vision_task


def plain(steps: list[np.ndarray], window: int, drop: float) -> tuple[int, float, float] | None:
    """Step, reference and median at the trigger of one model, of whose steps the losses are given; in plain Python."""
    seen: list[float] = []
    for step, losses in enumerate(steps, start=1):
        seen += losses.tolist()
        if len(seen) < window:
            continue
        reference, median = (_median(part) for part in (seen[:window], seen[-window:]))
        if median <= (1 - drop) * reference:
            return step, reference, median
    return None


def _median(values: list[float]) -> float:
    middle, ranked = len(values) // 2, sorted(values)
    return ranked[middle] if len(values) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def watched(steps: list[np.ndarray], trigger: Trigger, *, resumed: bool = False) -> dict[int, tuple]:
    """Step, reference and median by model, of losses [K, b] a step; on request by a new watch at every step."""
    watch, found = TriggerWatch(trigger, len(steps[0])), {}
    for step, losses in enumerate(steps, start=1):
        if resumed:
            state, watch = watch.state(), TriggerWatch(trigger, len(losses))
            watch.restore(state)
        for one in watch.after_step(torch.from_numpy(losses), step):
            assert one.k not in found
            found[one.k] = (step, one.reference, one.median)
    return found


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("window", "drop"), [(1, 0.5), (7, 0.5), (8, 0.9), (30, 0.7), (64, 0.3), (1000, 0.1)]
)
def test_the_watch_finds_what_a_plain_loop_finds(window: int, drop: float, ties: bool, resumed: bool) -> None:
    rng = np.random.default_rng([window, ties])
    sizes = [8, 8, 8, 3] * 15  # the last step of an epoch is smaller
    speeds = np.array([0.0, 0.02, 0.05, 0.2, 0.05])
    steps = []
    for number, size in enumerate(sizes):
        losses = rng.exponential(2 * np.exp(-speeds * number)[:, None], (5, size))
        steps.append((np.round(4 * losses) / 4 if ties else losses).astype(np.float32))
    wanted = {k: plain([losses[k] for losses in steps], window, drop) for k in range(5)}
    assert watched(steps, Trigger(window=window, drop=drop), resumed=resumed) == {
        k: one for k, one in wanted.items() if one is not None
    }
    assert any(wanted.values()) == (window < 1000)


def test_a_window_longer_than_the_run_never_triggers() -> None:
    steps = [np.full((2, 8), loss) for loss in (4.0, 0.1, 0.0)]
    assert watched(steps, Trigger(window=25, drop=0.5)) == {}
    assert watched(steps, Trigger(window=24, drop=0.5)) == {}  # of all losses there are, but one median


def test_the_step_that_fills_the_window_may_be_the_trigger() -> None:
    # The window of 3 is full amid the second step; its last three losses lie lower than the first three.
    steps = [np.array([[4.0, 4.0], [4.0, 4.0]]), np.array([[4.0, 1.0, 1.0], [4.0, 1.0, 2.5]])]
    assert watched(steps, Trigger(window=3, drop=0.5)) == {0: (2, 4.0, 1.0)}


def test_a_median_at_the_very_limit_triggers() -> None:
    steps = [np.array([[8.0], [8.0]]), np.array([[4.0], [np.nextafter(4, 5)]])]
    assert watched(steps, Trigger(window=1, drop=0.5)) == {0: (2, 8.0, 4.0)}


SEEDS = [2, 7, 9]
CHECKPOINTS = [0.0, 0.4, 1.0, 3.0, 4.0, 8.0]
STEPS = 40  # 37 samples in batches of 8: one batch of each epoch is smaller


class KilledError(BaseException):
    """Like SIGKILL: nothing of the loop's own code runs after it."""


class Run:
    """A run in a folder, in as many attempts as it takes; models are exported where they trigger.

    Attributes:
        losses: of every step, by its number from 0.
        order: what was called, with the steps made, in the order of the calls.
        checkpoints: statistics by step.
        triggers: what was said of a trigger, by place in the pack.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        trigger = {"window": 20, "drop": 0.05 if kind == "vision" else 0.7}
        self.kind, self.folder = kind, folder
        self.plan = recipe(8, CHECKPOINTS, schedule="constant", trigger=trigger)
        self.task = self._task()
        self.losses: dict[int, np.ndarray] = {}
        self.order: list[tuple[str, int]] = []
        self.checkpoints: dict[int, CheckpointStats] = {}
        self.triggers: dict[int, tuple[float, int, CheckpointStats, Triggered]] = {}

    def _task(self) -> VisionTask | LanguageTask:
        return vision_task(SEEDS) if self.kind == "vision" else language_task(SEEDS, dropout=0.2)

    def attempt(self, stop_at: Container[int] = (), kill_at: int = -1) -> None:
        """Train on, until asked to stop after a step, or killed right after what a step calls."""
        self.task, steps = self._task(), []
        original = self.task.losses

        def losses(rows: np.ndarray, step: int) -> torch.Tensor:
            if step == kill_at:
                raise KilledError
            loss = original(rows, step)
            self.losses[step] = loss.detach().double().numpy()
            return loss

        def on_checkpoint(_epoch: float, step: int, stats: CheckpointStats) -> None:
            self.order.append(("checkpoint", step))
            self.checkpoints[step] = stats

        def on_trigger(epoch: float, step: int, stats: CheckpointStats, one: Triggered) -> None:
            self.order.append(("trigger", step))
            self.triggers[one.k] = (epoch, step, stats, one)
            self.task.export(one.k, self.folder / f"{one.k}")

        self.task.losses = losses  # type: ignore[method-assign]
        train(
            self.task,
            train_rows(SEEDS, 37),
            self.plan,
            state_path=self.folder / "state",
            on_checkpoint=on_checkpoint,
            on_trigger=on_trigger,
            on_progress=lambda step, _total: steps.append(step),
            should_stop=lambda: steps[-1] in stop_at,
        )

    def exported(self) -> dict[Path, bytes]:
        """Bytes of the exported models by name of their file."""
        files = self.folder.glob("*/*.safetensors")
        return {file.relative_to(self.folder): file.read_bytes() for file in files}


@pytest.fixture(scope="module", params=["vision", "language"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run: one of its models triggers at a checkpoint, the others in between."""
    run = Run(request.param, tmp_path_factory.mktemp("whole"))
    run.attempt()
    return run


def assert_the_same(run: Run, whole: Run) -> None:
    assert run.exported() == whole.exported()
    assert run.triggers.keys() == whole.triggers.keys()
    for k, (epoch, step, stats, one) in whole.triggers.items():
        assert run.triggers[k][:2] == (epoch, step)
        assert run.triggers[k][3] == one
        np.testing.assert_array_equal(run.triggers[k][2].mean_loss, stats.mean_loss, strict=True)
        np.testing.assert_array_equal(run.triggers[k][2].median_loss, stats.median_loss, strict=True)
    state, expected = load_file(run.folder / "state"), load_file(whole.folder / "state")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_models_trigger_at_their_own_steps(whole: Run) -> None:
    trigger, losses = whole.plan.trigger, [whole.losses[step] for step in range(STEPS)]
    assert trigger is not None
    found = {k: (step, one.reference, one.median) for k, (_, step, _, one) in whole.triggers.items()}
    assert found == {k: plain([step[k] for step in losses], trigger.window, trigger.drop) for k in range(3)}
    steps = {step for step, _, _ in found.values()}
    assert len(steps) > 1
    assert len(steps & whole.checkpoints.keys()) == 1  # there the checkpoint comes first
    called = {("checkpoint", step) for step in whole.checkpoints} | {("trigger", step) for step in steps}
    assert list(dict.fromkeys(whole.order)) == sorted(called, key=lambda call: (call[1], call[0]))
    for k, (epoch, step, stats, one) in whole.triggers.items():
        assert (epoch, one.k) == (step / 5, k)
        before = max(at for at in whole.checkpoints if at < step)
        between = np.concatenate([losses[at][k] for at in range(before, step)])
        assert stats.mean_loss is not None
        assert stats.median_loss is not None
        assert float(stats.mean_loss[k]) == pytest.approx(between.mean(), rel=1e-12)
        assert float(stats.median_loss[k]) == pytest.approx(np.median(between), rel=1e-12)


def test_a_trigger_changes_nothing_else(whole: Run, tmp_path: Path) -> None:
    run = Run(whole.kind, tmp_path)
    run.plan = run.plan.model_copy(update={"trigger": None})
    run.attempt()
    assert run.triggers == {}
    for name, weight in run.task.parameters().items():
        assert torch.equal(weight, whole.task.parameters()[name])
    for step, stats in run.checkpoints.items():
        np.testing.assert_array_equal(stats.mean_loss, whole.checkpoints[step].mean_loss)
    with safe_open(run.folder / "state", framework="pt") as stored:
        assert not [name for name in stored.keys() if "trigger" in name]  # noqa: SIM118 - not a mapping
        assert "trigger" not in stored.metadata()["identity"]


def test_the_weights_are_those_of_the_step(whole: Run, tmp_path: Path) -> None:
    for k, (_, step, _, _) in whole.triggers.items():
        run = Run(whole.kind, tmp_path / f"{k}")
        with pytest.raises(Interrupted):
            run.attempt(stop_at={step})
        run.task.export(k, tmp_path / "there" / f"{k}")
    there = {
        file.relative_to(tmp_path / "there"): file.read_bytes()
        for file in tmp_path.glob("there/*/*.safetensors")
    }
    assert there == whole.exported()


def test_a_run_interrupted_after_every_step_triggers_once_and_the_same(whole: Run, tmp_path: Path) -> None:
    run = Run(whole.kind, tmp_path)
    for _ in range(1, STEPS):
        with pytest.raises(Interrupted):
            run.attempt(stop_at=range(STEPS + 1))
    run.attempt()
    assert run.order == whole.order
    assert_the_same(run, whole)


def test_a_run_killed_after_a_trigger_calls_it_again_unless_the_state_knows(
    whole: Run, tmp_path: Path
) -> None:
    steps = {step for _, step, _, _ in whole.triggers.values()}
    for step in steps:
        run = Run(whole.kind, tmp_path / f"{step}")
        with pytest.raises(KilledError):
            run.attempt(kill_at=step)
        run.attempt()
        times = 1 if step in whole.checkpoints else 2
        of_step = [call for call in whole.order if call == ("trigger", step)]
        assert [call for call in run.order if call == ("trigger", step)] == times * of_step
        assert_the_same(run, whole)
