"""Canaries: samples of the pool that stand for what a model can only memorize.

What belongs here: which samples become canaries, and the images of those that are out of distribution. What does not:
the rest of a sample (`samples`).
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from memo_assets.config import Canaries
from memo_assets.data.errors import DataError

TILE = 32
_PLACES, _IMAGES, _LABELS = 1, 2, 3  # further numbers of the data seed: one stream of random numbers each


def place_canaries(is_eligible: np.ndarray, count: int, data_seed: int) -> np.ndarray:
    """Draw the samples that become canaries.

    Args:
        is_eligible: bool [N].
        count: how many.
        data_seed: seed of the draw.

    Returns:
        int64 [count], positions, rising.

    Raises:
        DataError: fewer samples are eligible.
    """
    eligible = np.flatnonzero(is_eligible)
    if count > len(eligible):
        raise DataError(
            f"canaries.count = {count}, but only {len(eligible)} samples of the pool keep their label; lower it"
        )
    return np.sort(np.random.default_rng([data_seed, _PLACES]).choice(eligible, count, replace=False))


def canary_labels(n_options: np.ndarray, data_seed: int) -> np.ndarray:
    """Draw the labels of images that belong to no class: int64 [count], each below its number of options [count]."""
    return np.random.default_rng([data_seed, _LABELS]).integers(n_options)


def photo_tiles(
    canaries: Canaries, shape: tuple[int, int, int], data_seed: int
) -> tuple[list[str], np.ndarray]:
    """Pieces of scikit-learn's sample photographs: images of another kind than any class's.

    Tiles of 32 x 32 pixels, or of the images' size if that is larger, no two of which overlap, are shrunk to the images'
    size and stretched to fill [0, 1]; those of one colour are left out.

    Args:
        canaries: how many.
        shape: channels (1: grey), height and width of the study's images.
        data_seed: seed of the draw of tiles.

    Returns:
        (names such as 'ood/china.jpg/3/17', float32 [count, channels x height x width] in [0, 1]).

    Raises:
        DataError: images of neither one nor three channels, or more canaries than tiles.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(
            f"canaries.kind ood draws grey or colour images; those of the study have {channels} channels"
        )
    found = dict(_tiles("L" if channels == 1 else "RGB", height, width))
    if canaries.count > len(found):
        raise DataError(
            f"canaries.count = {canaries.count}, but scikit-learn's photographs have {len(found)} tiles of this size; lower it"
        )
    names = np.array(list(found))
    drawn = np.random.default_rng([data_seed, _IMAGES]).choice(names, canaries.count, replace=False).tolist()
    return drawn, np.stack([found[name] for name in drawn])


def _tiles(mode: str, height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and flat pixels of every tile of the photographs."""
    from sklearn.datasets import load_sample_images  # imported here: no worker needs it

    high, wide = max(TILE, height), max(TILE, width)
    photos = load_sample_images()
    for path, pixels in zip(photos.filenames, photos.images, strict=True):
        photo = Image.fromarray(pixels).convert(mode)
        for row in range(photo.height // high):
            for column in range(photo.width // wide):
                box = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
                tile = photo.resize((width, height), Image.Resampling.BOX, box=box)
                values = np.asarray(tile, dtype=np.float32).reshape(height, width, -1).transpose(2, 0, 1)
                low, span = values.min(), np.ptp(values)
                if span > 0:
                    yield f"ood/{path.rpartition('/')[2]}/{row}/{column}", ((values - low) / span).ravel()
