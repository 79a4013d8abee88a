"""The training loop: K models of one study at once.

What belongs here: optimizer, gradient clipping, learning rate, checkpoints and resumption, for any `Task`. What does
not: files of checkpoints (the caller's `on_checkpoint`), the models (`language`, `vision`).

The loss of a step is the sum over models of the mean over each model's batch, and gradients are clipped per model, so
that every model is trained as if it were alone. A step may take its batch in several passes, whose gradients add up
to that of the batch as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memo_assets.config import Dp, Training
from memo_assets.training.batches import pack_batches, without
from memo_assets.training.gradients import clip_per_model
from memo_assets.training.interruption import Interrupted, ShouldStop, never
from memo_assets.training.optimizers import make_optimizer, restore_moments
from memo_assets.training.private import private_gradients
from memo_assets.training.schedule import checkpoint_steps, learning_rate, step_size, steps_per_epoch
from memo_assets.training.state import RunState, content_hash, load_state, save_state
from memo_assets.training.task import Task
from memo_assets.training.trigger import Triggered, TriggerWatch


@dataclass(frozen=True)
class CheckpointStats:
    """How training went since the checkpoint before.

    learning_rate: of the last step made; 0 at epoch 0.
    mean_loss, median_loss: float64 [K], training loss over all samples seen; None at epoch 0, where none were.
    """

    learning_rate: float
    mean_loss: np.ndarray | None
    median_loss: np.ndarray | None


OnCheckpoint = Callable[[float, int, CheckpointStats], None]
OnTrigger = Callable[[float, int, CheckpointStats, Triggered], None]
OnProgress = Callable[[int, int], None]


def train(
    task: Task,
    train_rows: np.ndarray,
    recipe: Training,
    *,
    left_out: np.ndarray | None = None,
    dp: Dp | None = None,
    state_path: Path,
    on_checkpoint: OnCheckpoint,
    on_trigger: OnTrigger | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop = never,
    trigger_reference: np.ndarray | None = None,
) -> None:
    """Train all models of a task, or go on where an earlier run stood.

    Weights and statistics are bit-equal either way. A killed run goes on from the state saved last, an interrupted one
    from the step it had made last.

    At every checkpoint `on_checkpoint` runs first and the state is saved after it, so a run killed in between calls
    it once more for the same epoch: what it writes must be replaceable. A run that had ended calls nothing and leaves
    the task with its final weights. `on_trigger` runs when a model meets the recipe's trigger, after `on_checkpoint` if
    that is at a checkpoint; no state is saved for it alone, so it too may be called once more.

    Args:
        task: the models and their data.
        train_rows: int64 [K, n], training samples of each model as positions in the data set.
        recipe: the training recipe.
        left_out: bool [N], samples of the data set that no model is trained on, though `train_rows` names them: batches and
            steps stay as they were, and other samples of a batch stand in their places without counting
            (`batches.without`); the losses reported are of all that was looked at.
        dp: DP-SGD in place of the recipe's own gradient and clipping; not together with `left_out`.
        state_path: file of the run's state; if it exists, the run resumes there.
        on_checkpoint: called with epoch, steps made and statistics.
        on_trigger: called with epoch, steps made, statistics since the checkpoint before, and the model.
        on_progress: called after every step with steps made and steps in all.
        should_stop: asked after every step but the last; at the first yes the run is interrupted.
        trigger_reference: [K], losses from which the recipe's trigger counts the fall; by default each model's first ones.

    Raises:
        Interrupted: `should_stop` said yes; the state is saved.
        ValueError: rows that do not fit the task, or that are all left out for a model; dp together with left_out; a checkpoint between two steps; a state of another run, or one that
            cannot be read.
        FloatingPointError: a loss or gradient is not finite; the message names split seed and step.
    """
    _check_rows(task, train_rows)
    spare = None if left_out is None else _spare_rows(task, train_rows, left_out)
    if dp is not None and left_out is not None:
        raise ValueError("dp and left_out given together; give one of them")
    n_train = train_rows.shape[1]
    per_epoch = steps_per_epoch(recipe, n_train)
    total = recipe.epochs * per_epoch
    epoch_at = {step: epoch for epoch, step in checkpoint_steps(recipe, n_train).items()}
    parameters = task.parameters()
    optimizer = make_optimizer(parameters, recipe)
    identity = {
        "seeds": list(task.seeds),
        "recipe": recipe.settings(),
        "train_rows": content_hash(train_rows),
        "settings": dict(task.settings),
        **({} if left_out is None else {"left_out": content_hash(left_out)}),
        **({} if dp is None else {"dp": dp.settings()}),
    }
    losses: list[Tensor] = []  # of the steps since the checkpoint before
    watch = (
        None if recipe.trigger is None else TriggerWatch(recipe.trigger, len(task.seeds), trigger_reference)
    )

    def save(step: int) -> None:
        save_state(
            state_path,
            parameters,
            optimizer,
            losses,
            step=step,
            identity=identity,
            buffers=task.buffers(),
            trigger=None if watch is None else watch.state(),
        )

    began = 0
    if state_path.exists():
        state = load_state(state_path, identity)
        losses += _restore(state, task, optimizer)
        if watch is not None:
            watch.restore(state.trigger)
        began = state.step
    else:
        on_checkpoint(0.0, 0, CheckpointStats(0.0, None, None))
        save(0)

    batches: list[np.ndarray] = []
    for step in range(began, total):
        epoch, position = divmod(step, per_epoch)
        if not batches or position == 0:
            batches = pack_batches(
                train_rows, task.lengths, epoch, seeds=task.seeds, batch_size=step_size(recipe)
            )
        rate = learning_rate(recipe, step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows, counts = batches[position], None
        if left_out is not None and spare is not None:
            rows, counts = without(rows, left_out, spare)
        losses.append(_step(task, optimizer, rows, step=step, recipe=recipe, dp=dp, counts=counts))
        done = step + 1
        if on_progress is not None:
            on_progress(done, total)
        triggered = [] if watch is None else watch.after_step(losses[-1], done)
        if done in epoch_at or triggered:
            seen = torch.cat(losses, dim=1).double().cpu().numpy()
            stats = CheckpointStats(rate, seen.mean(axis=1), np.median(seen, axis=1))
            if done in epoch_at:
                on_checkpoint(epoch_at[done], done, stats)
                losses.clear()
            for one in triggered:
                if on_trigger is not None:
                    on_trigger(epoch_at.get(done, done / per_epoch), done, stats, one)
        stop = done < total and should_stop()
        if stop or done in epoch_at:
            save(done)
        if stop:
            raise Interrupted(done, total, "steps", began=began)


def _step(
    task: Task,
    optimizer: torch.optim.Optimizer,
    rows: np.ndarray,
    *,
    step: int,
    recipe: Training,
    dp: Dp | None,
    counts: np.ndarray | None,
) -> Tensor:
    """One optimizer step on rows [K, b], of which those count that are True in `counts`; returns the losses [K, b]."""
    if dp is not None:
        losses = private_gradients(task, rows, dp, step=step, first_pass=step * step_size(recipe))
        _check_finite(losses, "training loss", task, step)
    else:
        losses = _mean_gradients(task, rows, step=step, recipe=recipe, counts=counts)
    gradients = [p.grad for p in task.parameters().values() if p.grad is not None]
    norms = clip_per_model(gradients, None if dp is not None else recipe.max_grad_norm)
    _check_finite(norms.unsqueeze(1), "gradient norm", task, step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return losses


def _mean_gradients(
    task: Task, rows: np.ndarray, *, step: int, recipe: Training, counts: np.ndarray | None
) -> Tensor:
    """Leave the gradient of each model's mean loss in `.grad`; returns the losses [K, b]."""
    n_samples = rows.shape[1]
    losses: list[Tensor] = []
    weights = None if counts is None else counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for first in range(0, n_samples, recipe.batch_size):
        # Passes are numbered through the run, so that no two draw the same dropout masks.
        number = step * recipe.accumulation + len(losses)
        part = slice(first, first + recipe.batch_size)
        loss = task.losses(rows[:, part], number)
        _check_finite(loss.detach(), "training loss", task, step)
        penalty = task.penalty()
        trained = loss if penalty is None else loss + penalty
        if weights is None:
            (trained.sum() / n_samples).backward()
        else:
            (trained * torch.from_numpy(weights[:, part]).to(trained)).sum().backward()
        losses.append(loss.detach())
    return torch.cat(losses, dim=1)


def _check_finite(values: Tensor, name: str, task: Task, step: int) -> None:
    """Raise FloatingPointError naming the first model with a value [K, b] that is not finite."""
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        k = int((~finite).any(dim=1).int().argmax())
        value = float(values[k][~finite[k]][0])
        raise FloatingPointError(
            f"{name} of split seed {task.seeds[k]} is {value} at step {step + 1}; "
            "lower training.learning_rate, set or lower training.max_grad_norm, or raise training.warmup_steps"
        )


def _check_rows(task: Task, train_rows: np.ndarray) -> None:
    n_samples = len(task.lengths)
    if train_rows.ndim != 2 or len(train_rows) != len(task.seeds):
        raise ValueError(
            f"train_rows {train_rows.shape} given, expected [{len(task.seeds)} models, n samples]"
        )
    if train_rows.min() < 0 or train_rows.max() >= n_samples:
        raise ValueError(
            f"train_rows run from {train_rows.min()} to {train_rows.max()}, expected positions 0 to {n_samples - 1}"
        )


def _spare_rows(task: Task, train_rows: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The first training sample [K] of each model that is not left out."""
    kept = ~left_out[train_rows]
    if not kept.any(axis=1).all():
        seed = task.seeds[int((~kept.any(axis=1)).argmax())]
        raise ValueError(
            f"all {train_rows.shape[1]} training samples of split seed {seed} are left out; expected one left at least"
        )
    return train_rows[np.arange(len(train_rows)), kept.argmax(axis=1)]


def _restore(state: RunState, task: Task, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Put a stored state into the models and their optimizer; returns its losses where those of new steps lie."""
    parameters = task.parameters()
    with torch.no_grad():
        for name, tensor in (parameters | task.buffers()).items():
            tensor.copy_(state.tensors[name]["value"])
    if state.step:
        for name, parameter in parameters.items():
            restore_moments(optimizer, parameter, state.tensors[name], step=state.step)
    device = next(iter(parameters.values())).device
    return [losses.to(device) for losses in state.losses]
