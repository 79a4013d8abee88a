"""Random flips and shifts: what they may do to an image, and on what the draws depend."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from memo_assets.config import Augmentation
from memo_assets.training.augmentation import augmented

from . import resnet_task

BOTH = Augmentation(flip=True, shift=2)
# Every pixel of every image another number, none 0.
IMAGES = torch.arange(1.0, 2 * 300 * 3 * 4 * 5 + 1).view(2, 300, 3, 4, 5)


def _possible(image: Tensor, shift: int, *, flip: bool) -> dict[tuple[int, int, bool], Tensor]:
    """All that may become of an image [C, H, W], by pixels up and to the left and whether it is flipped."""
    padded = functional.pad(image, [shift] * 4)
    height, width = image.shape[1:]
    found = {}
    for down in range(2 * shift + 1):
        for right in range(2 * shift + 1):
            cut = padded[:, down : down + height, right : right + width]
            found[down - shift, right - shift, False] = cut
            if flip:
                found[down - shift, right - shift, True] = cut.flip(2)
    return found


@pytest.mark.parametrize("settings", [BOTH, Augmentation(flip=True), Augmentation(shift=1)])
def test_every_image_is_a_crop_of_its_padded_self_all_of_which_are_as_likely(settings: Augmentation) -> None:
    result = augmented(IMAGES, settings, seeds=[4, 9], step=3)
    assert result.shape == IMAGES.shape
    counts = dict.fromkeys(_possible(IMAGES[0, 0], settings.shift, flip=settings.flip), 0)
    for image, found in zip(IMAGES.flatten(0, 1), result.flatten(0, 1), strict=True):
        possible = _possible(image, settings.shift, flip=settings.flip)
        (kind,) = [kind for kind, wanted in possible.items() if torch.equal(found, wanted)]
        counts[kind] += 1
    expected = 600 / len(counts)
    chi_squared = sum((n - expected) ** 2 / expected for n in counts.values())
    degrees = len(counts) - 1
    assert chi_squared < degrees + 4 * (2 * degrees) ** 0.5  # mean and standard deviation of chi squared


def test_draws_depend_on_split_seed_and_pass_alone() -> None:
    first = augmented(IMAGES, BOTH, seeds=[4, 9], step=3)
    assert torch.equal(augmented(IMAGES, BOTH, seeds=[4, 9], step=3), first)
    alone = augmented(IMAGES[1:], BOTH, seeds=[9], step=3)
    assert torch.equal(alone[0], first[1])
    for other in (
        augmented(IMAGES[1:], BOTH, seeds=[9], step=4)[0],
        augmented(IMAGES[1:], BOTH, seeds=[4], step=3)[0],
    ):
        assert (other != alone[0]).flatten(1).any(dim=1).float().mean() > 0.9


def test_training_sees_changed_images_and_prediction_does_not() -> None:
    task = resnet_task([0, 1])
    rows = np.tile(np.arange(16), (2, 1))
    losses = [task.losses(rows, step).detach() for step in (0, 0, 1)]
    torch.testing.assert_close(losses[0], losses[1])
    assert (losses[0] - losses[2]).abs().max() > 1e-2
    predicted = [task.predict(rows[0], hidden=False).loss for _ in range(2)]
    assert torch.equal(predicted[0], predicted[1])
    # By the network in evaluation mode on the images as they are.
    logits, _ = task._network.eval()(task._images[:16].expand(2, -1, -1))
    expected = functional.cross_entropy(logits.flatten(0, 1), task._labels[:16].repeat(2), reduction="none")
    torch.testing.assert_close(predicted[0].flatten(), expected)
