"""Canaries: where they come to lie, and what the images of those out of distribution are."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from memo_assets.config import Canaries
from memo_assets.data.canaries import canary_labels, photo_tiles, place_canaries
from memo_assets.data.errors import DataError


def test_places_are_eligible_drawn_once_and_the_same_again():
    eligible = np.arange(200) % 3 > 0
    places = place_canaries(eligible, 50, 7)
    assert eligible[places].all()
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(places, place_canaries(eligible, 50, 7))
    assert set(places) != set(place_canaries(eligible, 50, 8))
    with pytest.raises(DataError, match=r"canaries.count = 50, but only 49 samples"):
        place_canaries(np.arange(200) < 49, 50, 0)


def test_labels_are_uniform_over_the_options_of_each():
    n_options = np.repeat([2, 5], 2000)
    labels = canary_labels(n_options, 3)
    np.testing.assert_array_equal(labels, canary_labels(n_options, 3))
    # Five standard deviations of a count.
    assert np.abs(np.bincount(labels[:2000]) - 1000).max() < 5 * np.sqrt(500)
    assert np.abs(np.bincount(labels[2000:]) - 400).max() < 5 * np.sqrt(320)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 40, 48)])
def test_tiles_are_pieces_of_photographs_that_fill_the_range(shape: tuple[int, int, int]):
    names, tiles = photo_tiles(Canaries(kind="ood", count=40), shape, 0)
    assert len(set(names)) == 40
    assert tiles.shape == (40, np.prod(shape))
    assert tiles.dtype == np.float32
    np.testing.assert_array_equal(tiles.min(axis=1), 0)
    np.testing.assert_array_equal(tiles.max(axis=1), 1)
    channels, height, width = shape
    _, photo, row, column = names[0].split("/")
    high, wide = max(32, height), max(32, width)
    piece = load_sample_image(photo)[int(row) * high :, int(column) * wide :][:high, :wide].astype(np.float64)
    if channels == 1:
        piece = np.asarray(Image.fromarray(piece.astype(np.uint8)).convert("L"), dtype=np.float64)[..., None]
    # Shrinking by a whole number is the mean over blocks, rounded to a grey level.
    small = piece.reshape(height, high // height, width, wide // width, channels).mean(axis=(1, 3))
    stretched = (small - small.min()) / np.ptp(small)
    np.testing.assert_allclose(
        tiles[0].reshape(shape), stretched.transpose(2, 0, 1), atol=1.5 / np.ptp(small)
    )


def test_what_photographs_cannot_give_is_refused():
    with pytest.raises(DataError, match=r"canaries.count = 600, but .* have 5\d\d tiles"):
        photo_tiles(Canaries(kind="ood", count=600), (1, 8, 8), 0)
    with pytest.raises(DataError, match="those of the study have 2 channels"):
        photo_tiles(Canaries(kind="ood", count=1), (2, 8, 8), 0)
