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
        VisionTask(PackedMlp([n_inputs, 4, 3], [0]), images, np.array(labels), image_shape=(1, 1, 2))


def test_a_shape_of_other_images_is_named() -> None:
    with pytest.raises(ValueError, match=r"images of 12 values given, expected 9: .* are \(1, 3, 3\)"):
        _task(np.zeros((1, 12)), (1, 3, 3))


@pytest.mark.parametrize(("shape", "shift"), [((1, 2, 4), 2), ((2, 2, 2), 2)])
def test_images_that_cannot_be_augmented_are_refused(shape: tuple[int, int, int], shift: int) -> None:
    with pytest.raises(ValueError, match=r"training.augmentation: images of shape"):
        VisionTask(
            PackedMlp([8, 4, 3], [0]),
            np.zeros((1, 8), dtype=np.float32),
            np.array([0]),
            image_shape=shape,
            augmentation=Augmentation(shift=shift),
        )


def _task(images: np.ndarray, shape: tuple[int, int, int]) -> VisionTask:
    labels = np.zeros(len(images), dtype=np.int64)
    return VisionTask(
        PackedMlp([images.shape[1], 4, 2], [0]), images.astype(np.float32), labels, image_shape=shape
    )


def _images(task: VisionTask) -> np.ndarray:
    return task._images.numpy()


def test_shifted_images_leave_zeros_and_keep_the_weights() -> None:
    images = np.arange(1, 10, dtype=np.float32)[None]
    task = _task(images, (1, 3, 3))
    assert _images(task.queried(1, 0)).reshape(3, 3).tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert _images(task.queried(-1, 1)).reshape(3, 3).tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]
    assert np.array_equal(_images(task.queried(0, 0)), images)
    assert np.array_equal(_images(task), images)
    with torch.no_grad():
        task.parameters()["weights.0"].zero_()
    first = task.queried(1, 0).predict(np.array([0]), hidden=True).hidden
    assert first is not None
    bias = task.parameters()["biases.0"].detach()
    torch.testing.assert_close(first[0][0, 0], torch.relu(bias[0]))


def test_wide_layers_count_as_more_tokens_in_a_pass() -> None:
    for widest, tokens in ((4096, 1), (4097, 2), (9000, 3)):
        task = VisionTask(
            PackedMlp([2, widest, 2], [0]),
            np.zeros((2, 2), np.float32),
            np.array([0, 1]),
            image_shape=(1, 1, 2),
        )
        assert task.lengths.tolist() == [tokens, tokens]


def test_every_channel_is_mirrored_first_and_then_shifted() -> None:
    # Two images of three channels, two rows of three pixels: 1 to 18 and 19 to 36.
    images = np.arange(1, 37).reshape(2, 18)
    task = _task(images, (3, 2, 3))
    flipped = _images(task.queried(0, 0, flipped=True)).reshape(2, 3, 2, 3)
    assert flipped[0, 0].tolist() == [[3, 2, 1], [6, 5, 4]]
    assert flipped[1, 2].tolist() == [[33, 32, 31], [36, 35, 34]]
    moved = _images(task.queried(1, 2, flipped=True)).reshape(2, 3, 2, 3)
    assert moved[0].tolist() == [[[0, 0, 0], [0, 0, 3]], [[0, 0, 0], [0, 0, 9]], [[0, 0, 0], [0, 0, 15]]]
    plain = _images(task.queried(0, -2)).reshape(2, 3, 2, 3)
    assert plain[1].tolist() == [[[21, 0, 0], [24, 0, 0]], [[27, 0, 0], [30, 0, 0]], [[33, 0, 0], [36, 0, 0]]]
    assert np.array_equal(_images(task), images)


@pytest.mark.parametrize(("down", "right"), [(2, 0), (0, -3)])
def test_images_shifted_out_of_sight_are_refused(down: int, right: int) -> None:
    task = _task(np.zeros((1, 6)), (1, 2, 3))
    with pytest.raises(ValueError, match=rf"images of 2 x 3 pixels, shifted by {down} down and {right} to"):
        task.queried(down, right)
