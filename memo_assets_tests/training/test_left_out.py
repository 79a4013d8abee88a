"""Training without samples that the training rows name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from memo_assets.training.batches import without
from memo_assets.training.loop import train

from . import language_task, recipe, resnet_task, train_rows, vision_task

SEEDS = [2, 7]


def test_places_are_filled_by_other_samples_of_the_batch_that_do_not_count() -> None:
    left_out = np.isin(np.arange(10), [1, 3, 5])
    rows = np.array([[0, 1, 2, 3], [6, 7, 8, 9], [1, 3, 5, 1]])
    filled, counts = without(rows, left_out, np.array([0, 6, 4]))
    assert filled.tolist() == [[0, 0, 2, 2], [6, 7, 8, 9], [4, 4, 4, 4]]
    assert counts.tolist() == [[True, False, True, False], [True] * 4, [False] * 4]


def trained(
    kind: str, folder: Path, left_out: np.ndarray | None, *, changed: bool = False
) -> list[torch.Tensor]:
    """Final weights; with `changed`, the images that are left out are others."""
    task = resnet_task(SEEDS) if kind == "resnet" else vision_task(SEEDS)
    if changed:
        assert left_out is not None
        task._images[torch.from_numpy(left_out)] += 5.0
    sgd = {"optimizer": "sgd", "momentum": 0.9, "warmup_steps": 0, "schedule": "constant"}
    train(
        task,
        train_rows(SEEDS),
        recipe(2, **sgd, accumulation=2),
        left_out=left_out,
        state_path=folder / "state",
        on_checkpoint=lambda *_: None,
    )
    return [weight.detach().clone() for weight in (*task.parameters().values(), *task.buffers().values())]


@pytest.mark.parametrize("kind", ["vision", "resnet"])
def test_nothing_of_what_is_left_out_reaches_a_model(kind: str, tmp_path: Path) -> None:
    left_out = np.arange(64) % 3 == 0
    once = trained(kind, tmp_path / "once", left_out)
    again = trained(kind, tmp_path / "again", left_out, changed=True)
    all_in = trained(kind, tmp_path / "all", None)
    # Batch norm as well: its statistics are over the batch.
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(once, all_in, strict=True))


def test_a_step_takes_the_mean_over_the_samples_that_count(tmp_path: Path) -> None:
    rows, left_out = train_rows(SEEDS, 8), np.zeros(64, dtype=bool)
    left_out[rows[0, :5]] = True  # of the first model three are left, of the other another number
    plan = recipe(
        1, optimizer="sgd", warmup_steps=0, schedule="constant", weight_decay=0.0, max_grad_norm=None
    )
    task, by_hand = vision_task(SEEDS), vision_task(SEEDS)
    train(task, rows, plan, left_out=left_out, state_path=tmp_path / "state", on_checkpoint=lambda *_: None)
    losses = by_hand.losses(rows, 0)
    for k in range(2):
        losses[k, torch.from_numpy(~left_out[rows[k]])].mean().backward(retain_graph=True)
    for name, weight in by_hand.parameters().items():
        assert weight.grad is not None
        expected = weight.detach() - plan.learning_rate * weight.grad
        torch.testing.assert_close(task.parameters()[name].detach(), expected, atol=1e-7, rtol=1e-6)


def test_a_model_without_any_sample_is_named(tmp_path: Path) -> None:
    rows = train_rows(SEEDS, 8)
    left_out = np.isin(np.arange(64), rows[1])
    with pytest.raises(ValueError, match="all 8 training samples of split seed 7 are left out; expected one"):
        train(
            language_task(SEEDS), rows, recipe(1), left_out=left_out,
            state_path=tmp_path / "state", on_checkpoint=lambda *_: None,
        )  # fmt: skip
