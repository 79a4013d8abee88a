"""Small pictures of our own, saved as the library `datasets` saves them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as Pillow

NAMES = ["red", "green", "blue"]


def picture(pixels: object, mode: str | None = None) -> Pillow.Image:
    """Numbers from 0 to 255, [H, W] in grey or [H, W, 3] in colour, as a picture, in another mode if one is given."""
    made = Pillow.fromarray(np.asarray(pixels, dtype=np.uint8))
    return made if mode is None else made.convert(mode)


def picture_rows(rows: Sequence[tuple[object, object]], label: Any = None) -> Dataset:
    """Pictures and their labels in the columns img and label; by default a ClassLabel of three colours."""
    features = Features({"img": Image(), "label": label or ClassLabel(names=NAMES)})
    return Dataset.from_list([{"img": img, "label": value} for img, value in rows], features=features)


def save_pictures(
    folder: Path, splits: Mapping[str, Sequence[tuple[object, object]]], label: Any = None
) -> Path:
    """Save splits of rows as of `picture_rows` below a folder, and return it."""
    DatasetDict({split: picture_rows(rows, label) for split, rows in splits.items()}).save_to_disk(folder)
    return folder


def colours(n: int, seed: int, *, height: int = 4, width: int = 5) -> list[tuple[Pillow.Image, int]]:
    """Random pictures in colour, each brightest in the colour of its class."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        pixels = rng.integers(0, 156, (height, width, 3))
        pixels[:, :, k % 3] += 100
        rows.append((picture(pixels), k % 3))
    return rows


def settings(folder: Path, **changes: object) -> dict[str, object]:
    """Block `data` of a study of what `save_pictures` saved as split train, with other values."""
    block = {"source": "images", "name": str(folder), "splits": ["train"], "image": "img", "label": "label"}
    return {**block, **changes}
