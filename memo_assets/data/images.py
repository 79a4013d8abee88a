"""Images of the Hugging Face hub, or of a directory that the library `datasets` saved.

What belongs here: rows of pictures and classes to items, and the shape of a study's images. What does not: getting the
rows (`hub`), whether all images have one shape and the labels make sense (`items.check_items`).
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memo_assets.config import ImagesData
from memo_assets.data.errors import DataError
from memo_assets.data.hub import read_piece, row_ids

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

ROW_GROUP_SIZE = 4096
"""Rows per row group of Parquet files that hold images: read in less memory, and a few images without the others."""

_MAX_PIXEL = np.float32(255)
_GREY, _COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")


def load_images(data: ImagesData) -> pd.DataFrame:
    """Read the images of a study, split after split, those of the test splits last; the position becomes sample_id.

    Args:
        data: the data set and its columns.

    Returns:
        Columns item_id (split and row, as in train/17), image (float32 [C * H * W] in [0, 1], channel after channel,
        row after row; grey images have one channel, all others red, green and blue), image_shape (C, H, W), label,
        options (names of the classes in the data set's order; without names, the values found, in order); with test
        splits also is_test (bool).

    Raises:
        DataMissingError: the data set is not on this machine and the hub cannot be asked.
        DataError: an unknown split or column, a split that is too short, a column that holds no images or no classes,
            an image that is missing or cannot be read.
    """
    pieces = [(piece, "splits") for piece in data.splits]
    pieces += [(piece, "test_splits") for piece in data.test_splits or []]
    frames, classes = [], []
    for piece, field in pieces:
        rows = read_piece(data, piece, [data.image, data.label], field=field)
        ids = row_ids(piece, len(rows))
        images = _images(rows, data, ids)
        labels, names = _labels(rows, data, ids)
        classes.append(names)
        made = {
            "item_id": ids,
            "image": [image.ravel() for image in images],
            "image_shape": [image.shape for image in images],
            "label": labels,
        }
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in made.items()})
        frames.append(frame if data.test_splits is None else frame.assign(is_test=field == "test_splits"))
    items = pd.concat(frames, ignore_index=True)
    named = [names for names in classes if names is not None]
    if any(names != classes[0] for names in classes):
        raise DataError(
            f"{data.name}: the splits name the classes of column {data.label!r} differently, {named}"
        )
    found = items["label"].dropna().unique()
    options = named[0] if named else sorted(found, key=lambda name: (_number(name), name))
    items["options"] = [options] * len(items)
    return items


def image_shape(samples: pd.DataFrame) -> tuple[int, int, int]:
    """Channels, height and width of a study's images.

    Args:
        samples: of a vision study; without a column image_shape its images are square and have one channel.

    Raises:
        DataError: they are not square.
    """
    if "image_shape" in samples:
        channels, height, width = map(int, samples["image_shape"].iloc[0])
        return channels, height, width
    size = len(samples["image"].iloc[0])
    side = math.isqrt(size)
    if side**2 != size:
        raise DataError(f"images of {size} values without a shape, expected square ones of one channel")
    return 1, side, side


def _images(rows: "Dataset", data: ImagesData, ids: list[str]) -> list[np.ndarray]:
    """Float32 [C, H, W] of every row."""
    from datasets import Image

    feature = rows.features[data.image]
    if not isinstance(feature, Image):
        pictures = [name for name, other in rows.features.items() if isinstance(other, Image)]
        raise DataError(
            f"{data.name}: column {data.image!r} holds no images but {feature}; data.image may name "
            f"{', '.join(pictures) or 'none of its columns: save them as the feature Image'}"
        )
    files: Any = rows.cast_column(data.image, Image(decode=False))[data.image]
    decoder = Image()
    images = []
    for row, file in zip(ids, files, strict=True):
        if file is None:
            raise DataError(f"{data.name}: row {row} has no image: remove the row")
        try:
            picture = decoder.decode_example(file)
        except (OSError, ValueError, SyntaxError) as error:  # which of them, depends on the format
            raise DataError(f"{data.name}: the image of row {row} cannot be read: {error}") from error
        if picture.mode not in _GREY + _COLOUR:
            raise DataError(
                f"{data.name}: the image of row {row} has pixels of mode {picture.mode!r}, expected 8 bits per channel: "
                "save it in grey (L) or colour (RGB)"
            )
        images.append(_pixels(picture))
    return images


def _pixels(picture: "Image") -> np.ndarray:
    """Float32 [C, H, W] in [0, 1]; transparency is left out."""
    is_grey = picture.mode in _GREY
    values = np.asarray(picture.convert("L" if is_grey else "RGB"))
    values = values[None] if is_grey else values.transpose(2, 0, 1)
    return np.divide(values, _MAX_PIXEL, dtype=np.float32, order="C")


def _labels(rows: "Dataset", data: ImagesData, ids: list[str]) -> tuple[list[Any], list[str] | None]:
    """Labels as text, None where there is none, and the names of all classes if the data set has them."""
    from datasets import ClassLabel, Value

    feature = rows.features[data.label]
    values: list[Any] = rows[data.label][:]
    if isinstance(feature, ClassLabel):
        names = feature.names
        for row, value in zip(ids, values, strict=True):
            if value is not None and not 0 <= value < len(names):
                raise DataError(
                    f"{data.name}: row {row} has the label {value}, but there are {len(names)} classes from 0, {names}: "
                    "unlabelled rows are no samples"
                )
        return [None if value is None else names[value] for value in values], names
    if isinstance(feature, Value) and "int" in feature.dtype:
        return [None if value is None else str(value) for value in values], None
    if isinstance(feature, Value) and "string" in feature.dtype:
        return values, None
    raise DataError(
        f"{data.name}: column {data.label!r} holds no classes but {feature}; expected a ClassLabel, whole numbers or text"
    )


def _number(name: str) -> int:
    """What whole numbers are sorted by; all other names come last."""
    return int(name) if name.removeprefix("-").isdecimal() else 2**63
