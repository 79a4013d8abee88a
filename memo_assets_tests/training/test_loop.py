"""The training loop: models that do not touch each other, checkpoints, errors."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from memo_assets.config import Augmentation
from memo_assets.models.packed_wide_resnet import PackedWideResNet
from memo_assets.training.gradients import clip_per_model
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.vision import VisionTask

from . import language_task, long_options, recipe, resnet_task, train_rows, vision_task


def _train(
    task: LanguageTask | VisionTask, directory: Path, epochs: int = 4, **changes: object
) -> dict[str, torch.Tensor]:
    rows = train_rows(list(task.seeds))
    name = f"state-{len(task.seeds)}-{task.seeds[0]}"
    train(task, rows, recipe(epochs, **changes), state_path=directory / name, on_checkpoint=lambda *_: None)  # pyright: ignore[reportArgumentType]
    return {name: p.detach().clone() for name, p in task.parameters().items()}


@pytest.mark.parametrize(
    ("dropout", "settings"),
    [
        (0.0, {}),
        (0.3, {}),
        (0.3, {"samples": long_options()}),
        (0.3, {"samples": long_options(), "loss": "text"}),
    ],
)
def test_packing_does_not_change_an_adapter(tmp_path: Path, dropout: float, settings: dict[str, Any]) -> None:
    packed = _train(language_task([3, 8, 1, 6], dropout=dropout, **settings), tmp_path)
    alone = _train(language_task([8], dropout=dropout, **settings), tmp_path)
    gap = max(float((packed[name][1] - alone[name][0]).abs().max()) for name in alone)
    assert gap < 1e-4  # AdamW makes whole steps of gradients that are mere rounding
    assert float((packed["lm_head.lora_B"][1] - packed["lm_head.lora_B"][0]).abs().max()) > 1e-3


def test_passes_of_a_step_add_up_to_one_batch(tmp_path: Path) -> None:
    seeds, rows = [3, 8], train_rows([3, 8], 42)  # five steps of 8 and one of 2
    final = []
    for changes in (
        {"batch_size": 8},
        {"batch_size": 4, "accumulation": 2},
        {"batch_size": 1, "accumulation": 8},
    ):
        task = vision_task(seeds)
        train(
            task,
            rows,
            recipe(4, **changes),  # pyright: ignore[reportArgumentType]
            state_path=tmp_path / f"{changes['batch_size']}",
            on_checkpoint=lambda *_: None,
        )
        final.append(torch.cat([p.detach().flatten() for p in task.parameters().values()]))
    torch.testing.assert_close(final[1], final[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(final[2], final[0], atol=1e-6, rtol=0)


def test_passes_of_a_step_draw_their_own_dropout(tmp_path: Path) -> None:
    task = language_task([3], dropout=0.3)
    seen: list[int] = []
    original = task.losses
    task.losses = lambda rows, step: seen.append(step) or original(rows, step)  # type: ignore[method-assign]
    _train(task, tmp_path, 1, batch_size=3, accumulation=3)  # 40 samples: 4 steps of 9 and one of 4
    assert len(seen) == 14
    assert seen == sorted(set(seen))


def test_packing_does_not_change_a_perceptron(tmp_path: Path) -> None:
    packed, alone = _train(vision_task([3, 8, 1, 6]), tmp_path), _train(vision_task([8]), tmp_path)
    assert max(float((packed[name][1] - alone[name][0]).abs().max()) for name in alone) < 1e-5


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        (torch.optim.AdamW, {}),
        (functools.partial(torch.optim.SGD, momentum=0.9), {"optimizer": "sgd", "momentum": 0.9}),
        (torch.optim.SGD, {"optimizer": "sgd", "max_grad_norm": None, "weight_decay": 0.3}),
    ],
    ids=["adamw", "sgd with momentum", "sgd without clipping"],
)
def test_packed_perceptrons_equal_separate_torch_models(
    tmp_path: Path, optimizer: Callable[..., torch.optim.Optimizer], changes: dict[str, Any]
) -> None:
    from memo_assets.training.batches import epoch_batches
    from memo_assets.training.schedule import learning_rate

    seeds = [4, 9]
    task = vision_task(seeds)
    initial = {name: p.detach().clone() for name, p in task.parameters().items()}
    final = _train(task, tmp_path, epochs=20, **changes)
    plan = recipe(20, **changes)
    rng = np.random.default_rng(6)
    images = torch.from_numpy(rng.random((64, 12), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, 64))
    for k, seed in enumerate(seeds):
        linear = [torch.nn.Linear(12, 10), torch.nn.Linear(10, 10), torch.nn.Linear(10, 3)]
        model = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
        with torch.no_grad():
            for i, layer in enumerate(linear):
                layer.weight.copy_(initial[f"weights.{i}"][k])
                layer.bias.copy_(initial[f"biases.{i}"][k])
        steps = optimizer(model.parameters(), lr=1.0, weight_decay=plan.weight_decay)
        for epoch in range(20):
            batches = epoch_batches(train_rows([seed])[0], np.ones(64), epoch, split_seed=seed, batch_size=8)
            for j, batch in enumerate(batches):
                steps.param_groups[0]["lr"] = learning_rate(plan, 5 * epoch + j, 100)
                steps.zero_grad()
                torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                if plan.max_grad_norm is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.max_grad_norm)
                steps.step()
        for i, layer in enumerate(linear):
            torch.testing.assert_close(final[f"weights.{i}"][k], layer.weight.detach(), atol=1e-5, rtol=0)
            torch.testing.assert_close(final[f"biases.{i}"][k], layer.bias.detach(), atol=1e-5, rtol=0)


def test_packing_does_not_change_a_wide_resnet(tmp_path: Path) -> None:
    changes = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05}
    packed_task, alone_task = resnet_task([3, 8, 1, 6]), resnet_task([8])
    packed, alone = _train(packed_task, tmp_path, **changes), _train(alone_task, tmp_path, **changes)  # pyright: ignore[reportArgumentType]
    for name, weight in alone.items():
        torch.testing.assert_close(packed[name][1], weight[0], atol=1e-4, rtol=1e-3)
    for name, buffer in alone_task.buffers().items():
        torch.testing.assert_close(packed_task.buffers()[name][1], buffer[0], atol=1e-4, rtol=1e-3)


def test_a_wide_resnet_learns_digits_it_has_not_seen(tmp_path: Path) -> None:
    pixels, digits = load_digits(return_X_y=True)
    images = (np.asarray(pixels)[:700] / 16).astype(np.float32)
    labels = np.asarray(digits)[:700].astype(np.int64)
    network = PackedWideResNet((1, 8, 8), 10, depth=10, width=1, seeds=[0, 1])
    shifts = Augmentation(shift=1)
    task = VisionTask(network, images, labels, image_shape=(1, 8, 8), augmentation=shifts)
    before = task.predict(np.arange(500, 700), hidden=False)
    settings = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1, "batch_size": 50}
    train(
        task,
        np.tile(np.arange(500), (2, 1)),
        recipe(10, **settings),  # pyright: ignore[reportArgumentType]
        state_path=tmp_path / "state",
        on_checkpoint=lambda *_: None,
    )
    after = task.predict(np.arange(500, 700), hidden=False)
    right = (after.option_logits.argmax(dim=2).numpy() == labels[500:]).mean(axis=1)
    assert (right > 0.75).all(), right
    assert (after.loss.mean(dim=1) < before.loss.mean(dim=1) / 2).all()


def test_gradients_are_clipped_to_each_models_own_norm() -> None:
    first = torch.tensor([[[3.0]], [[0.3]]])
    second = torch.tensor([[4.0], [0.4]])
    norms = clip_per_model([first, second], 1.0)
    assert norms.tolist() == pytest.approx([5.0, 0.5])
    assert first.flatten().tolist() == pytest.approx([0.6, 0.3], abs=1e-6)
    assert second.flatten().tolist() == pytest.approx([0.8, 0.4], abs=1e-6)
    first *= 10
    assert clip_per_model([first, second], None)[0] == pytest.approx((6**2 + 0.8**2) ** 0.5)
    assert first[0].item() == pytest.approx(6, abs=1e-5)


def test_an_exploding_model_does_not_touch_the_others(tmp_path: Path) -> None:
    calm = _train(language_task([3, 8]), tmp_path / "calm")
    task = language_task([3, 8])
    with torch.no_grad():
        for name, parameter in task.parameters().items():
            if name.endswith("lora_B"):
                parameter[0] = 1e3
    exploded = _train(task, tmp_path / "exploded")
    assert all(torch.equal(calm[name][1], exploded[name][1]) for name in calm)
    assert not torch.equal(calm["lm_head.lora_A"][0], exploded["lm_head.lora_A"][0])


def test_checkpoints_come_in_order_with_statistics_since_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, seen, per_sample = vision_task([0, 1]), [], []
    original = task.losses

    def recorded(rows: np.ndarray, step: int) -> torch.Tensor:
        loss = original(rows, step)
        per_sample.append(loss.detach().double().numpy())
        return loss

    def on_checkpoint(epoch: float, step: int, stats: CheckpointStats) -> None:
        seen.append((epoch, step, stats))

    monkeypatch.setattr(task, "losses", recorded)
    progress: list[tuple[int, int]] = []
    train(
        task,
        train_rows([0, 1], 37),
        recipe(2, [0.0, 0.4, 1.0, 2.0]),
        state_path=tmp_path / "state",
        on_checkpoint=on_checkpoint,
        on_progress=lambda step, total: progress.append((step, total)),
    )
    assert [(epoch, step) for epoch, step, _ in seen] == [(0.0, 0), (0.4, 2), (1.0, 5), (2.0, 10)]
    assert seen[0][2] == CheckpointStats(0.0, None, None)
    between = np.concatenate(per_sample[2:5], axis=1)
    assert sum(losses.shape[1] for losses in per_sample[:5]) == 37
    np.testing.assert_allclose(seen[2][2].mean_loss, between.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(seen[2][2].median_loss, np.median(between, axis=1), rtol=1e-12)
    assert seen[2][2].learning_rate == pytest.approx(1e-2 * 6 / 7)
    assert progress == [(step, 10) for step in range(1, 11)]


def test_a_loss_that_is_not_finite_names_split_seed_and_step(tmp_path: Path) -> None:
    task = vision_task([4, 7])
    with torch.no_grad():
        task.parameters()["weights.0"][1, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="training loss of split seed 7 is nan at step 1"):
        _train(task, tmp_path)


def test_a_gradient_that_is_not_finite_names_split_seed_and_step(tmp_path: Path) -> None:
    task = vision_task([4, 7])
    calls = 0

    def poison(grad: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        poisoned = grad.clone()
        if calls == 3:
            poisoned[0, 0, 0] = torch.inf
        return poisoned

    task.parameters()["weights.1"].register_hook(poison)
    with pytest.raises(FloatingPointError, match="gradient norm of split seed 4 is inf at step 3"):
        _train(task, tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((1, 8), dtype=np.int64), r"train_rows \(1, 8\) given, expected \[2 models, n samples\]"),
        (np.full((2, 8), 64), "expected positions 0 to 63"),
    ],
)
def test_rows_that_do_not_fit_the_task_are_refused(tmp_path: Path, rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(vision_task([0, 1]), rows, recipe(1), state_path=tmp_path / "s", on_checkpoint=lambda *_: None)
