"""The handwritten digits of scikit-learn.

What belongs here: turning `load_digits` into items. What does not: checks and splits (`items`, `samples`).
"""

import numpy as np
import pandas as pd

from memo_assets.config import DigitsData
from memo_assets.data.errors import DataError

MAX_PIXEL = 16.0  # the images hold counts of 4 x 4 cells


def load_digits(data: DigitsData) -> pd.DataFrame:
    """The images as rows of 64 pixels in [0, 1], float32, with their digit as label.

    Args:
        data: how many of the first images to use.

    Returns:
        Columns item_id (position in scikit-learn's data), image (array of 64), label ('0'..'9'), options.

    Raises:
        DataError: more images asked for than there are.
    """
    from sklearn.datasets import load_digits as sklearn_digits  # imported here: no worker needs it

    pixels, digits = (np.asarray(part) for part in sklearn_digits(return_X_y=True))
    n = len(pixels) if data.items is None else data.items
    if n > len(pixels):
        raise DataError(
            f"data.items = {n}, but scikit-learn's digits hold {len(pixels)} images: lower it or leave it out"
        )
    return pd.DataFrame(
        {
            "item_id": [str(i) for i in range(n)],
            "image": list((pixels[:n] / MAX_PIXEL).astype("float32")),
            "label": digits[:n].astype(str).astype(object),
            "options": [[str(digit) for digit in range(10)]] * n,
        }
    )
