"""Mahalanobis distance against the published values, scipy, scikit-learn and values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from memo_assets.measures import mahalanobis as module
from memo_assets.measures.mahalanobis import mahalanobis

PUBLISHED = np.load(Path(__file__).parents[1] / "oracles" / "mahalanobis.npz")


def states(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)


def by_pseudo_inverse(train: np.ndarray, target: np.ndarray) -> np.ndarray:
    inverse = np.linalg.pinv(np.cov(train, rowvar=False, ddof=0), hermitian=True, rcond=1e-10)
    centred = target - train.mean(axis=0)
    return np.sqrt(np.einsum("ij,jk,ik->i", centred, inverse, centred))


def test_published_values() -> None:
    train, target = PUBLISHED["train"], PUBLISHED["target"]
    np.testing.assert_allclose(mahalanobis(train, target), PUBLISHED["d_pca100"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mahalanobis(train), PUBLISHED["d_pca100_self"], rtol=0, atol=1e-5)
    without_pca = mahalanobis(train, target, n_components=128)
    np.testing.assert_allclose(without_pca, PUBLISHED["d_none"], rtol=0, atol=1e-5)


def test_exact_where_the_published_code_is_random() -> None:
    found = mahalanobis(PUBLISHED["big_train"])
    np.testing.assert_allclose(found, PUBLISHED["big_self_exact_top100"], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(found, mahalanobis(PUBLISHED["big_train"]))
    assert np.abs(PUBLISHED["big_self_seed0"] - PUBLISHED["big_self_seed1"]).max() > 0.1


def test_worked_out_by_hand() -> None:
    # Mean (1, 1), variances 2 and 1/2, no covariance.
    train = np.array([[3, 1], [-1, 1], [1, 2], [1, 0]])
    target = np.array([[3, 1], [1, 2], [3, 2], [1, 1], [-3, 1]])
    root = np.sqrt(2)
    np.testing.assert_allclose(mahalanobis(train, target), [root, root, 2, 0, 2 * root], atol=1e-15)
    # On the first axis alone.
    first = mahalanobis(train, target, n_components=1)
    np.testing.assert_allclose(first, [root, 0, root, 0, 2 * root], atol=1e-15)
    np.testing.assert_allclose(mahalanobis(train), [root] * 4)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 29), (13, 12)])
def test_agrees_with_scipy_on_all_components(n: int, d: int) -> None:
    train, target = states(n, d), states(7, d, seed=1)
    inverse = np.linalg.inv(np.cov(train, rowvar=False, ddof=0))
    expected = cdist(target, train.mean(axis=0)[None], "mahalanobis", VI=inverse)[:, 0]
    np.testing.assert_allclose(mahalanobis(train, target), expected, rtol=1e-6)


@pytest.mark.parametrize(("n", "d", "n_components"), [(300, 40, 10), (40, 300, 10), (50, 50, 20)])
def test_agrees_with_scikit_learn_on_leading_components(n: int, d: int, n_components: int) -> None:
    train, target = states(n, d), states(9, d, seed=1)
    pca = PCA(n_components, svd_solver="full").fit(train)
    squared = EmpiricalCovariance().fit(pca.transform(train)).mahalanobis(pca.transform(target))
    found = mahalanobis(train, target, n_components=n_components)
    np.testing.assert_allclose(found, np.sqrt(squared), rtol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(120, 20), (20, 120), (20, 20)])
def test_is_the_length_of_the_left_singular_vectors(n: int, d: int) -> None:
    train = states(n, d)
    left = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[0][:, : min(n - 1, d)]
    found = mahalanobis(train)
    np.testing.assert_allclose(found, np.sqrt(n * (left**2).sum(axis=1)), rtol=1e-6)
    # Hence the mean square is the number of components.
    assert (found**2).mean() == pytest.approx(min(n - 1, d), rel=1e-9)


def test_directions_without_variance_do_not_count() -> None:
    train = states(40, 4)
    wide = np.c_[train, train[:, :2] @ [1, -2], np.full(40, 1e5), train[:, 0], np.zeros(40)]
    target = states(5, 4, seed=1)
    wide_target = np.c_[target, target[:, :2] @ [1, -2], np.full(5, 1e5), target[:, 0], np.zeros(5)]
    np.testing.assert_allclose(
        mahalanobis(wide, wide_target, n_components=8), by_pseudo_inverse(train, target), rtol=1e-8
    )
    assert np.isfinite(mahalanobis(wide.astype(np.float32), wide_target)).all()
    # Moved where the training samples do not vary, a target is no farther.
    aside = wide_target + 7 * np.eye(8)[-1]
    np.testing.assert_allclose(mahalanobis(wide, aside), mahalanobis(wide, wide_target))


@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3])
def test_identical_training_samples_have_no_distances(value: float, d: int) -> None:
    train = np.full((5, d), value)
    assert mahalanobis(train).tolist() == [0] * 5
    assert mahalanobis(train, np.ones((2, d))).tolist() == [0, 0]


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), seed=st.integers(0, 99))
def test_depends_on_no_change_of_axes(scale: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    train, target = rng.standard_normal((50, 6)), rng.standard_normal((5, 6))
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0] * scale
    expected = mahalanobis(train, target)
    np.testing.assert_allclose(
        mahalanobis(train @ rotation + shift, target @ rotation + shift), expected, rtol=1e-8
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, target = states(60, 8), states(11, 8, seed=1)
    whole = mahalanobis(train, target)
    monkeypatch.setattr(module, "_CELLS", 50)  # 6 rows of 8
    np.testing.assert_allclose(mahalanobis(train, target), whole, rtol=1e-10)


def test_tensors_and_arrays_give_the_same() -> None:
    train, target = states(30, 5).astype(np.float32), states(4, 5, seed=1).astype(np.float32)
    found = mahalanobis(torch.from_numpy(train), torch.from_numpy(target))
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, mahalanobis(train, target))
    np.testing.assert_allclose(found, mahalanobis(train.astype(float), target.astype(float)), rtol=1e-12)


def test_what_cannot_be_measured_is_refused() -> None:
    train = states(10, 3)
    with pytest.raises(ValueError, match="n_components is 0"):
        mahalanobis(train, n_components=0)
    with pytest.raises(ValueError, match="target has width 2 but train has width 3"):
        mahalanobis(train, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="train holds 1 sample"):
        mahalanobis(train[:1])
    with pytest.raises(ValueError, match=r"target has shape \(3,\)"):
        mahalanobis(train, np.zeros(3))
    with pytest.raises(ValueError, match="target holds nan or inf in 1 of its 2 rows"):
        mahalanobis(train, [[0, np.nan, 0], [0, 0, 0]])
    train[3] = np.inf
    with pytest.raises(ValueError, match="train holds nan or inf in 1 of its 10 rows"):
        mahalanobis(train)
