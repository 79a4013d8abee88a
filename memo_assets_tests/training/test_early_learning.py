"""Early-learning regularization: by hand, over options of different number, and over an interruption."""

from pathlib import Path

import numpy as np
import pytest
import torch

from memo_assets.config import Elr, Lora
from memo_assets.models.packed_mlp import PackedMlp
from memo_assets.training.early_learning import EarlyLearning
from memo_assets.training.interruption import Interrupted
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import train
from memo_assets.training.vision import VisionTask

from . import long_options, random_samples, recipe, tiny_llama, train_rows

SEEDS = [2, 7]
ELR = Elr(weight=3.0, momentum=0.7)


def task_of(kind: str, elr: Elr | None = ELR, seeds: list[int] = SEEDS) -> VisionTask | LanguageTask:
    if kind == "language":
        lora = Lora(rank=2, alpha=4.0, dropout=0.2)
        return LanguageTask(tiny_llama(), random_samples(), lora, seeds=seeds, elr=elr)
    rng = np.random.default_rng(6)
    images, labels = rng.random((64, 12), dtype=np.float32), rng.integers(0, 3, 64)
    return VisionTask(PackedMlp([12, 10, 10, 3], seeds), images, labels, image_shape=(3, 2, 2), elr=elr)


def test_the_term_and_the_averages_are_those_of_the_paper() -> None:
    early = EarlyLearning(ELR, n_models=2, n_samples=4, n_options=3, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    average = torch.zeros(2, 4, 3, dtype=torch.float64)
    for _ in range(3):
        logits = torch.randn(2, 2, 3, generator=generator).requires_grad_()
        rows = torch.tensor([[3, 1], [0, 1]])
        found = early.penalty(logits, rows)
        for k in range(2):
            for b, row in enumerate(rows[k].tolist()):
                p = logits[k, b].double().softmax(0)
                average[k, row] = 0.7 * average[k, row] + 0.3 * p.detach()
                expected = 3.0 * torch.log(1 - (p * average[k, row]).sum())
                assert float(found[k, b].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        (gradient,) = torch.autograd.grad(found.sum(), logits)
        # Of the published gradient: the class whose average is largest is pushed up.
        best = average[0, 1].argmax()
        assert float(gradient[0, 1, best]) < 0
    torch.testing.assert_close(early.targets.double(), average, atol=1e-6, rtol=1e-5)


def test_options_that_a_sample_lacks_take_no_part() -> None:
    wide, narrow = (
        EarlyLearning(ELR, n_models=1, n_samples=1, n_options=n, device=torch.device("cpu")) for n in (4, 2)
    )
    logits, row = torch.tensor([[[0.3, -1.0, -torch.inf, -torch.inf]]]), torch.tensor([[0]])
    torch.testing.assert_close(wide.penalty(logits, row), narrow.penalty(logits[:, :, :2], row))
    assert wide.targets[0, 0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["vision", "language"])
def test_losses_stay_the_cross_entropy_and_the_term_stands_beside_them(kind: str) -> None:
    rows = train_rows(SEEDS, 8)
    task, plain = task_of(kind), task_of(kind, None)
    assert torch.equal(task.losses(rows, 0), plain.losses(rows, 0))
    assert plain.penalty() is None
    penalty = task.penalty()
    assert penalty is not None
    assert penalty.shape == (2, 8)
    seen = task.buffers()["early_learning.targets"].sum(dim=2) > 0
    assert [np.flatnonzero(of_model).tolist() for of_model in seen.numpy()] == np.sort(rows, axis=1).tolist()


def test_only_options_of_one_token_in_the_answer_can_be_regularized() -> None:
    lora = Lora(rank=2, alpha=4.0)
    with pytest.raises(ValueError, match="elr given, expected loss answer and options judged by one token"):
        LanguageTask(tiny_llama(), long_options(), lora, seeds=[0], elr=ELR)
    with pytest.raises(ValueError, match="elr given, expected loss answer"):
        LanguageTask(tiny_llama(), random_samples(), lora, seeds=[0], elr=ELR, loss="text")


def final(
    kind: str, folder: Path, *, stop_at: int = -1, elr: Elr | None = ELR, seeds: list[int] = SEEDS
) -> dict[str, torch.Tensor]:
    """Weights and averages after 3 epochs, in two attempts if it is to stop after a step."""
    for _ in range(2):
        task, made = task_of(kind, elr, seeds), []
        try:
            train(
                task,
                train_rows(seeds, 37),
                recipe(3, schedule="constant"),
                state_path=folder / "state",
                on_checkpoint=lambda *_: None,
                on_progress=lambda step, _total: made.append(step),  # noqa: B023
                should_stop=lambda: made[-1] == stop_at,  # noqa: B023
            )
        except Interrupted:
            continue
        return {name: value.detach().clone() for name, value in (task.parameters() | task.buffers()).items()}
    raise AssertionError("interrupted twice")


@pytest.mark.parametrize("kind", ["vision", "language"])
def test_an_interrupted_run_ends_with_the_same_weights_and_averages(kind: str, tmp_path: Path) -> None:
    straight = final(kind, tmp_path / "straight")
    resumed = final(kind, tmp_path / "resumed", stop_at=7)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    without = final(kind, tmp_path / "without", elr=None)
    assert any(not torch.equal(straight[name], without[name]) for name in without)
    alone = final(kind, tmp_path / "alone", seeds=SEEDS[1:])
    for name, value in alone.items():  # a pack changes no model
        torch.testing.assert_close(value[0], straight[name][1], atol=1e-5, rtol=1e-4)
