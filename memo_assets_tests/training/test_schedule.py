"""Steps, checkpoints and learning rate of a recipe."""

import subprocess
import sys

import pytest
import torch
from transformers import get_scheduler

from memo_assets.training.schedule import checkpoint_steps, learning_rate, steps_per_epoch

from . import recipe


def test_the_last_smaller_batch_is_a_step() -> None:
    assert steps_per_epoch(recipe(1), 40) == 5
    assert steps_per_epoch(recipe(1), 41) == 6
    assert steps_per_epoch(recipe(1, batch_size=2, accumulation=4), 41) == 6


def test_checkpoints_of_the_published_recipe_are_whole_steps() -> None:
    published = recipe(2, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0], batch_size=2, accumulation=2)
    assert checkpoint_steps(published, 1000) == {
        0.0: 0,
        0.2: 50,
        0.4: 100,
        0.6: 150,
        0.8: 200,
        1.0: 250,
        2.0: 500,
    }


def test_a_checkpoint_between_two_steps_is_named_with_the_nearest_allowed() -> None:
    with pytest.raises(ValueError, match=r"checkpoint 0\.3 is 1\.5 steps.*nearest allowed epoch is 0\.4"):
        checkpoint_steps(recipe(1, [0.0, 0.3, 1.0]), 40)


@pytest.mark.parametrize(
    ("schedule", "name"),
    [("constant", "constant_with_warmup"), ("linear", "linear"), ("cosine", "cosine")],
)
@pytest.mark.parametrize("warmup", [0, 3])
def test_learning_rate_is_that_of_transformers(schedule: str, name: str, warmup: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=10)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = recipe(2, schedule=schedule, warmup_steps=warmup)
    assert [learning_rate(ours, step, 10) for step in range(10)] == pytest.approx(
        expected, rel=1e-12, abs=1e-17
    )


def test_the_study_checker_can_import_it_without_torch() -> None:
    code = "import sys, memo_assets.training.schedule, memo_assets.training.batches; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
