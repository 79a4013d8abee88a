"""One training run that stops where the median loss has become low, with the forward passes an audit needs.

What belongs here: when to stop, which passes are made, and going on after a kill. What does not: the loop (`training.loop`),
scores (`compute.early_scores`). Language and vision alike: everything goes through `Task`.

What is done is kept in a folder: the state of training, and one file a forward pass. A run that was killed makes no pass twice
and ends with the same figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from memo_assets.config import Dp, Training
from memo_assets.measures.evaluation import prediction_epoch
from memo_assets.store.files import atomic_path, read_json, write_json
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted, ShouldStop, never
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.schedule import step_size, steps_per_epoch
from memo_assets.training.task import Task
from memo_assets.training.trigger import Triggered

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class EarlyRun:
    """What a run up to the prediction epoch gives, of the N samples it trained on.

    Attributes:
        epochs: [E], epochs of the forward passes, 0 first and the one of the prediction last.
        losses: float32 [E, N]. option_logits: float32 [E, N, C], -inf beyond a sample's own options.
        hidden: float32 [N, d], last layer, at the last of these epochs.
        reached: whether the median loss fell far enough; else the run went on to its cap.
        reference: median loss of the untrained model. median: that by which the run was stopped, or the last known.
        steps, steps_of_all_epochs: optimizer steps made, and those of the whole recipe.
        samples_trained: samples that went through a step, each time counted.
        samples_run_forward: samples of all forward passes, each time counted.
    """

    epochs: np.ndarray
    losses: np.ndarray
    option_logits: np.ndarray
    hidden: np.ndarray
    reached: bool
    reference: float
    median: float
    steps: int
    steps_of_all_epochs: int
    samples_trained: int
    samples_run_forward: int


def run_until_low_loss(
    task: Task,
    rows: np.ndarray,
    recipe: Training,
    folder: Path,
    *,
    drop: float,
    dp: Dp | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop = never,
) -> EarlyRun:
    """Train one model until its median loss is low, and run it forward over its samples.

    With `recipe.trigger` the rule is the running median of the training losses after every step; without, the median of the
    forward passes at the recipe's checkpoints. Either is compared with the median loss of the untrained model.

    Args:
        task: one model over the data, fresh.
        rows: int64 [N], positions of the training samples.
        recipe: the training recipe, with the cap as its epochs.
        folder: keeps the state of a run that is killed; the same task, rows and recipe must be given again.
        drop: share by which the median must fall.
        dp: DP-SGD in place of the recipe's own gradient.
        on_progress: called with units done, units in all, and what is counted.
        should_stop: asked after every step.

    Raises:
        Interrupted: `should_stop` said yes; the same call goes on.
        ValueError: the folder holds the state of another run.
    """
    passes = _Passes(task, rows, folder)
    reference = float(np.median(passes.made(0.0)["losses"]))
    total = recipe.epochs * steps_per_epoch(recipe, len(rows))
    stopped = folder / "stopped.json"

    def stop_at(epoch: float, step: int, median: float) -> None:
        passes.made(epoch, hidden=True)
        write_json(stopped, {"epoch": epoch, "step": step, "median": median})

    def on_checkpoint(epoch: float, step: int, _: CheckpointStats) -> None:
        median = float(np.median(passes.made(epoch)["losses"]))
        if step and recipe.trigger is None and prediction_epoch([0.0, epoch], [reference, median], drop=drop):
            stop_at(epoch, step, median)

    def on_trigger(epoch: float, step: int, _: CheckpointStats, triggered: Triggered) -> None:
        stop_at(epoch, step, triggered.median)

    def told(done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(done, of, "steps")

    if not stopped.is_file():
        try:
            train(
                task,
                rows[None],
                recipe,
                dp=dp,
                state_path=folder / "training.safetensors",
                on_checkpoint=on_checkpoint,
                on_trigger=on_trigger,
                on_progress=told,
                should_stop=lambda: stopped.is_file() or should_stop(),
                trigger_reference=np.array([reference]),
            )
        except Interrupted:
            if not stopped.is_file():
                raise
    if stopped.is_file():
        found = read_json(stopped)
        last, step, median, reached = found["epoch"], found["step"], found["median"], True
    else:
        last, step, reached = float(recipe.epochs), total, False
        median = float(np.median(passes.made(last, hidden=True)["losses"]))
    epochs, outputs = passes.until(last)
    per_epoch = steps_per_epoch(recipe, len(rows))
    whole, rest = divmod(step, per_epoch)
    return EarlyRun(
        epochs=epochs,
        losses=np.stack([one["losses"] for one in outputs]),
        option_logits=np.stack([one["option_logits"] for one in outputs]),
        hidden=passes.made(last, hidden=True)["hidden"],
        reached=reached,
        reference=reference,
        median=median,
        steps=step,
        steps_of_all_epochs=total,
        samples_trained=whole * len(rows) + min(rest * step_size(recipe), len(rows)),
        samples_run_forward=passes.number() * len(rows),
    )


class _Passes:
    """Forward passes of one model over its training samples, each kept in a file under its epoch."""

    def __init__(self, task: Task, rows: np.ndarray, folder: Path) -> None:
        self._task, self._rows, self._folder = task, rows, folder / "passes"

    def made(self, epoch: float, *, hidden: bool = False) -> dict[str, np.ndarray]:
        """Outputs at an epoch: those of the file, else of the model as it is now.

        Args:
            epoch: epoch of the weights that the model has now, if the pass has not been made.
            hidden: whether the states of the last layer are wanted too.
        """
        path = self._path(epoch, hidden=hidden)
        if path.is_file():
            return load_file(path)
        outputs = forward(self._task, self._rows, hidden="last" if hidden else False)
        found = {"losses": outputs.loss[0], "option_logits": outputs.option_logits[0]}
        if hidden:
            assert outputs.hidden is not None
            found["hidden"] = outputs.hidden[-1][0]
        with atomic_path(path) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in found.items()}, temporary)
        return found

    def until(self, last: float) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
        """Epochs and outputs of all passes up to one that has hidden states, which counts once."""
        known = {
            float(path.name.split("=")[1].removesuffix(".safetensors"))
            for path in self._folder.glob("epoch=*")
        }
        epochs = sorted(epoch for epoch in known if epoch < last)
        outputs = [load_file(self._path(epoch, hidden=False)) for epoch in epochs]
        return np.array([*epochs, last]), [*outputs, self.made(last, hidden=True)]

    def number(self) -> int:
        """How many passes were made."""
        return len(list(self._folder.glob("*=*.safetensors")))

    def _path(self, epoch: float, *, hidden: bool) -> Path:
        return self._folder / f"{'hidden' if hidden else 'epoch'}={epoch!r}.safetensors"
