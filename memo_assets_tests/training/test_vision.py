"""The vision task."""

from pathlib import Path

import numpy as np
import pytest
import torch

from memo_assets.training.vision import VisionTask

from . import vision_task


def test_loss_is_the_cross_entropy_over_classes() -> None:
    task = vision_task([0, 1])
    found = task.predict(np.arange(5), hidden=False)
    given = np.random.default_rng(6)
    given.random((64, 12), dtype=np.float32)
    labels = torch.from_numpy(given.integers(0, 3, 64)[:5])
    by_hand = found.option_logits.logsumexp(dim=2) - found.option_logits[:, torch.arange(5), labels]
    torch.testing.assert_close(found.loss, by_hand, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(task.losses(np.tile(np.arange(5), (2, 1)), 0).detach(), found.loss)


def test_an_exported_model_comes_back_in_any_slot(tmp_path: Path) -> None:
    task, other = vision_task([3, 4]), vision_task([8, 9, 10])
    task.export(1, tmp_path / "model")
    other.load(2, tmp_path / "model")
    rows = np.arange(64)
    assert torch.equal(
        task.predict(rows, hidden=False).option_logits[1], other.predict(rows, hidden=False).option_logits[2]
    )


@pytest.mark.parametrize(
    ("labels", "widths", "message"),
    [
        ([0, 1, 3], [4], "labels run from 0 to 3, expected 0 to 2"),
        ([0, 1], [4], r"images \(3, 2\) and 2 labels"),
        ([0, 1, 2], [4, 5], r"hidden widths \[4, 5\] differ"),
    ],
)
def test_what_does_not_fit_is_named(labels: list[int], widths: list[int], message: str) -> None:
    images = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=message):
        VisionTask(images, np.array(labels), 3, hidden_widths=widths, seeds=[0])
