"""Random flips and shifts of images in training.

What belongs here: the draws and the changed images. What does not: which images, and their losses (`vision`).

Every model of a pack draws from its split seed and the number of the pass alone: what it draws depends neither on the
rest of the pack nor on where a run was resumed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from memo_assets.config import Augmentation
from memo_assets.models.packed_lora import seeded_generator

_AUGMENTATION = 4


def augmented(images: Tensor, settings: Augmentation, *, seeds: Sequence[int], step: int) -> Tensor:
    """Images flipped and shifted at random, each on its own; what a shift leaves free is 0.

    Args:
        images: [K, b, C, H, W], those of each model.
        settings: whether to flip, and by how many pixels to shift at most.
        seeds: split seeds of the K models.
        step: number of the pass in the run.

    Returns:
        [K, b, C, H, W].
    """
    n, (height, width), shift = images.shape[1], images.shape[3:], settings.shift
    drawn = []
    for seed in seeds:
        generator = seeded_generator(seed, _AUGMENTATION, step)
        # Of the padded image the rows from the first on are kept, and the columns from the second; the third flips.
        places = torch.randint(2 * shift + 1, (2, n), generator=generator)
        drawn.append(torch.cat([places, torch.randint(2, (1, n), generator=generator)]))
    top, left, flipped = torch.stack(drawn, dim=1).to(images.device).unsqueeze(3)
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    if settings.flip:
        columns = torch.where(flipped == 1, columns.flip(0), columns)
    padded = functional.pad(images, (shift, shift, shift, shift))
    pixels = (top + rows).unsqueeze(3) * padded.shape[4] + (left + columns).unsqueeze(2)
    index = pixels.flatten(2).unsqueeze(2).expand(-1, -1, images.shape[2], -1)
    return padded.flatten(3).gather(3, index).view_as(images)
