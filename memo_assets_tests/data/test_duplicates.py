"""Nearest samples, against every pair."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from memo_assets.config import DigitsData
from memo_assets.data.cities import unambiguous_names
from memo_assets.data.digits import load_digits
from memo_assets.data.duplicates import nearest_images, nearest_texts

TEXTS = unambiguous_names()["text"].iloc[::15].tolist()


def test_equal_texts_find_each_other() -> None:
    texts = [*TEXTS, TEXTS[3], TEXTS[7].upper()]
    found = nearest_texts(texts, np.ones(len(texts), dtype=bool))
    last = len(TEXTS)
    assert (found.place[3], found.place[last]) == (last, 3)
    assert found.similarity[3] == pytest.approx(1)
    assert found.place[last + 1] == 7  # case does not count
    assert (found.place != np.arange(len(texts))).all()


def test_most_nearest_texts_are_those_of_all_pairs() -> None:
    found = nearest_texts(TEXTS, np.ones(len(TEXTS), dtype=bool))
    exact = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(TEXTS)
    cosines = np.asarray((exact @ exact.T).todense())
    np.fill_diagonal(cosines, -1)
    close = cosines.max(axis=1) > 0.4
    assert close.sum() > 20
    rows = np.flatnonzero(close)
    # What was found is as alike as the best of all pairs for nearly all that have something alike.
    assert (cosines[rows, found.place[rows]] >= cosines[rows].max(axis=1) - 1e-6).mean() > 0.9
    assert found.similarity[rows] == pytest.approx(cosines[rows, found.place[rows]], abs=0.02)


def test_only_wanted_ones_are_looked_for_and_unlike_ones_have_none() -> None:
    wanted = np.zeros(len(TEXTS), dtype=bool)
    wanted[5] = True
    found = nearest_texts(TEXTS, wanted)
    assert (found.place[~wanted] == -1).all()
    assert np.isnan(found.similarity[~wanted]).all()
    unlike = nearest_texts(["aaaaa", "bbbbb", "\u4e2d\u56fd\u5317\u4eac"], np.ones(3, dtype=bool))
    assert unlike.place.tolist() == [-1, -1, -1]


def test_images() -> None:
    images = np.stack(load_digits(DigitsData(source="digits", items=300))["image"].tolist()).reshape(300, -1)
    found = nearest_images(np.vstack([images, images[42]]), np.ones(301, dtype=bool))
    assert (found.place[42], found.place[300]) == (300, 42)
    centred = images - images.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    alone = nearest_images(images, np.ones(300, dtype=bool))
    assert (alone.place == cosines.argmax(axis=1)).all()
