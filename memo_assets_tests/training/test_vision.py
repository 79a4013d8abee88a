"""The vision task."""

from pathlib import Path

import numpy as np
import pytest
import torch

from memo_assets.config import Augmentation
from memo_assets.models.packed_mlp import PackedMlp
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
    ("labels", "n_inputs", "message"),
    [
        ([0, 1, 3], 2, "labels run from 0 to 3, expected 0 to 2"),
        ([0, 1], 2, r"images \(3, 2\) and 2 labels"),
        ([0, 1, 2], 4, r"images \(3, 2\) and 3 labels given, expected \[N, 4\]"),
    ],
)
def test_what_does_not_fit_is_named(labels: list[int], n_inputs: int, message: str) -> None:
    images = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=message):
        VisionTask(PackedMlp([n_inputs, 4, 3], [0]), images, np.array(labels))


@pytest.mark.parametrize(("shape", "shift"), [(None, 1), ((1, 2, 4), 2), ((1, 3, 3), 1)])
def test_images_that_cannot_be_augmented_are_refused(shape: tuple[int, int, int] | None, shift: int) -> None:
    with pytest.raises(ValueError, match=r"training.augmentation: images of 8 values and shape"):
        VisionTask(
            PackedMlp([8, 4, 3], [0]),
            np.zeros((1, 8), dtype=np.float32),
            np.array([0]),
            image_shape=shape,
            augmentation=Augmentation(shift=shift),
        )


def _blank_labels(images: np.ndarray) -> VisionTask:
    return VisionTask(PackedMlp([images.shape[1], 4, 2], [0]), images, np.array([0]))


def _images(task: VisionTask) -> np.ndarray:
    return task._images.numpy()


def test_shifted_images_leave_zeros_and_keep_the_weights() -> None:
    images = np.arange(1, 10, dtype=np.float32)[None]
    task = _blank_labels(images)
    assert _images(task.shifted(1, 0)).reshape(3, 3).tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert _images(task.shifted(-1, 1)).reshape(3, 3).tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]
    assert np.array_equal(_images(task.shifted(0, 0)), images)
    assert np.array_equal(_images(task), images)
    with torch.no_grad():
        task.parameters()["weights.0"].zero_()
    first = task.shifted(1, 0).predict(np.array([0]), hidden=True).hidden
    assert first is not None
    bias = task.parameters()["biases.0"].detach()
    torch.testing.assert_close(first[0][0, 0], torch.relu(bias[0]))


def test_wide_layers_count_as_more_tokens_in_a_pass() -> None:
    for widest, tokens in ((4096, 1), (4097, 2), (9000, 3)):
        task = VisionTask(PackedMlp([2, widest, 2], [0]), np.zeros((2, 2), np.float32), np.array([0, 1]))
        assert task.lengths.tolist() == [tokens, tokens]


def test_images_that_cannot_be_shifted_are_refused() -> None:
    task = _blank_labels(np.zeros((1, 6), np.float32))
    with pytest.raises(ValueError, match="6 pixels cannot be shifted by 1 down"):
        task.shifted(1, 0)
    square = _blank_labels(np.zeros((1, 9), np.float32))
    with pytest.raises(ValueError, match="larger than that"):
        square.shifted(0, -3)
