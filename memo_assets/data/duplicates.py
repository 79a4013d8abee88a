"""The nearest other sample of every sample, and how alike the two are.

What belongs here: likeness of texts and of images. What does not: what likeness means for memorization.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MAX_QUERIES = 20_000
"""Nearest samples are looked for among all others; beyond so many samples only for those that are asked for."""

_NGRAMS, _CHARACTERS = (3, 5), 2_000
_SKETCH, _CANDIDATES = 64, 6
_BATCH = 2_000


def looked_for(first: np.ndarray) -> np.ndarray:
    """For which samples the nearest is looked for, bool [N]: for all, or for those that matter first where there are too many.

    Args:
        first: bool [N], those that matter first.
    """
    return np.ones(len(first), dtype=bool) if len(first) <= MAX_QUERIES else first


class Nearest(NamedTuple):
    """The nearest other sample of N samples.

    Attributes:
        place: int64 [N], its position, -1 where none was looked for or nothing is alike.
        similarity: float64 [N], cosine with it, 1 for equal ones; nan where there is none.
    """

    place: np.ndarray
    similarity: np.ndarray


def nearest_samples(samples: pd.DataFrame, wanted: np.ndarray, *, seed: int = 0) -> Nearest:
    """The sample of a study most alike: by its image, or else by its text.

    Args:
        samples: N samples of a study, column image or text.
        wanted: bool [N], for which the nearest is looked for.
        seed: of the search among texts.
    """
    if "image" in samples:
        return nearest_images(np.stack(samples["image"].to_list(), dtype=np.float32), wanted)
    return nearest_texts(samples["text"].tolist(), wanted, seed=seed)


def nearest_texts(texts: list[str], wanted: np.ndarray, *, seed: int = 0) -> Nearest:
    """The text most alike, by the cosine of weighted counts of 3 to 5 characters in a row (tf-idf).

    Of the 6 nearest in a sketch of 64 dimensions the one with the largest cosine counts. So an equal text is always found, and
    one that is hardly alike may be missed. Of long texts the first 2,000 characters count.

    Args:
        texts: N texts.
        wanted: bool [N], for which the nearest is looked for.
        seed: of the sketch.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.preprocessing import normalize

    options: Any = {"norm": None, "dtype": np.float32}  # which its stubs do not know
    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=_NGRAMS, n_features=2**18, alternate_sign=False, **options
    )
    weighted = TfidfTransformer().fit_transform(hashing.transform([text[:_CHARACTERS] for text in texts]))
    width = min(_SKETCH, len(texts) - 1)
    sketch = np.asarray(normalize(TruncatedSVD(width, random_state=seed).fit_transform(weighted)))
    return _nearest(weighted, sketch.astype(np.float32), wanted)


def nearest_images(images: np.ndarray, wanted: np.ndarray) -> Nearest:
    """The image most alike, by the cosine of pixels whose mean over all images is taken off.

    Args:
        images: float [N, pixels].
        wanted: bool [N], for which the nearest is looked for.
    """
    from sklearn.preprocessing import normalize

    centred = np.asarray(normalize(images - images.mean(axis=0, dtype=np.float64))).astype(np.float32)
    return _nearest(centred, centred, wanted)


def _nearest(vectors, sketch: np.ndarray, wanted: np.ndarray) -> Nearest:
    """Of some candidates by the sketch, the one with the largest cosine of the unit vectors themselves."""
    from sklearn.neighbors import NearestNeighbors

    n = len(sketch)
    index, similarity = np.full(n, -1, dtype=np.int64), np.full(n, np.nan)
    rows = np.flatnonzero(wanted)
    if n < 2 or not len(rows):
        return Nearest(index, similarity)
    search = NearestNeighbors(n_neighbors=min(_CANDIDATES, n), algorithm="brute").fit(sketch)
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        candidates = search.kneighbors(sketch[some], return_distance=False)
        cosines = np.column_stack(
            [_cosines(vectors, some, candidates[:, k]) for k in range(candidates.shape[1])]
        )
        cosines[candidates == some[:, None]] = -np.inf
        best = cosines.argmax(axis=1)
        index[some] = candidates[np.arange(len(some)), best]
        similarity[some] = cosines[np.arange(len(some)), best]
    alike = similarity > 0
    return Nearest(np.where(alike, index, -1), np.where(alike, similarity.clip(max=1.0), np.nan))


def _cosines(vectors, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    from scipy.sparse import issparse

    if issparse(vectors):
        return np.asarray(vectors[rows].multiply(vectors[others]).sum(axis=1), dtype=np.float64).ravel()
    return np.einsum("ij,ij->i", vectors[rows], vectors[others], dtype=np.float64)
