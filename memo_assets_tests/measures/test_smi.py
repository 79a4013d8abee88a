"""SMI against the published values, scikit-learn and values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_selection import mutual_info_classif

from memo_assets.measures import smi as module
from memo_assets.measures.smi import smi

PUBLISHED = np.load(Path(__file__).parents[1] / "oracles" / "smi.npz")


def by_sklearn(columns: np.ndarray, labels: np.ndarray, n_neighbors: int = 3, seed: int = 0) -> np.ndarray:
    return np.array(
        [
            mutual_info_classif(column[:, None], labels, n_neighbors=n_neighbors, random_state=seed)[0]
            for column in columns.T
        ]
    )


def test_published_values() -> None:
    found = smi(PUBLISHED["X"], PUBLISHED["y"], directions=PUBLISHED["theta"])
    np.testing.assert_allclose(found.per_direction, PUBLISHED["per_direction"], rtol=0, atol=1e-9)
    assert found.mean == pytest.approx(float(PUBLISHED["ref_mean"]), abs=1e-9)
    assert found.high == pytest.approx(float(PUBLISHED["ref_max"]), abs=1e-9)
    assert found.low == pytest.approx(float(PUBLISHED["ref_min"]), abs=1e-9)


@pytest.mark.parametrize(
    ("points", "labels", "expected"),
    [
        # Two pairs apart, one neighbour: no stranger is nearer. digamma(4) - digamma(2) = 1/2 + 1/3.
        ([0, 1, 10, 12], [0, 0, 1, 1], 5 / 6),
        # Radii 1 1 1 1.4 1.4 4.1, points strictly nearer (itself too) 1 1 2 2 1 1, digamma(2) - digamma(1) = 1:
        # digamma(6) - digamma(3) - 2/6 = 1/3 + 1/4 + 1/5 - 1/3.
        ([0, 1, 2, 2.5, 3.9, 8], [0, 0, 0, 1, 1, 1], 9 / 20),
        # Interlaced: radii 4 5 4 5, points nearer 2 3 3 2: 11/6 - 9/4 is below 0.
        ([0, 1, 4, 6], [0, 1, 0, 1], 0),
    ],
)
def test_worked_out_by_hand(points: list[float], labels: list[int], expected: float) -> None:
    found = smi(np.array(points, dtype=float)[:, None], labels, directions=[[1.0]], n_neighbors=1)
    assert found.per_direction.tolist() == [pytest.approx(expected, abs=1e-12)]
    assert found.mean == found.low == found.high == found.per_direction[0]


@pytest.mark.parametrize("n_neighbors", [1, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_scikit_learn(seed: int, n_neighbors: int) -> None:
    # Classes of 12 and more: in smaller ones scikit-learn computes distances by a formula that cancels.
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[np.repeat([2, 5, 9], 12), rng.integers(0, 2, 60) * 3 + 2])
    columns = rng.standard_normal((96, 6)) + rng.standard_normal(6) * labels[:, None] / 4
    columns[:, 1] = np.round(columns[:, 1])  # ties
    columns[:, 2] = 5  # constant
    columns[:, 3] = 1e4 + 1e-3 * columns[:, 3]
    columns[:, 4] *= 1e-6
    columns[0, 5] = 1e6  # outlier
    found = smi(columns, labels, directions=np.eye(6), n_neighbors=n_neighbors, seed=seed)
    np.testing.assert_allclose(
        found.per_direction, by_sklearn(columns, labels, n_neighbors, seed), rtol=0, atol=1e-9
    )


def test_agrees_with_scikit_learn_on_single_precision_projections() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    projections = (rng.standard_normal((300, 8)) + labels[:, None]).astype(np.float32)
    found = smi(projections, labels, directions=np.eye(8, dtype=np.float32))
    np.testing.assert_allclose(found.per_direction, by_sklearn(projections, labels), rtol=0, atol=1e-9)


def test_small_classes_use_the_neighbours_they_have() -> None:
    # Classes 0, 1 and 10, 11, 12 with 3 neighbours asked: 1 and 2 are used, every radius is a distance within the class.
    found = smi([[0.0], [1], [10], [11], [12]], [0, 0, 1, 1, 1], directions=[[1.0]])
    # With g = -digamma(1): digamma(5) = 25/12 - g, digamma(2) = 1 - g, digamma(3) = 3/2 - g. Points nearer are 1 1 and
    # 2 2 2; for 11, whose two neighbours are as far, the noise puts one of them nearer.
    digamma_n, digamma_k, digamma_y, digamma_m = 25 / 12, 3 / 5, 2 / 5 + 9 / 10, 3 / 5
    assert found.mean == pytest.approx(digamma_n + digamma_k - digamma_y - digamma_m, abs=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 80)
    hidden = rng.standard_normal((80, 4)) + labels[:, None]
    whole = smi(hidden, labels, n_directions=25)
    monkeypatch.setattr(module, "_CELLS", 240)  # 3 directions of 80 samples
    np.testing.assert_allclose(
        smi(hidden, labels, n_directions=25).per_direction, whole.per_direction, atol=1e-12
    )
    assert whole.per_direction.shape == (25,)
    assert whole.mean == pytest.approx(whole.per_direction.mean())
    assert whole.low == pytest.approx(np.quantile(whole.per_direction, 0.01))
    assert whole.high == pytest.approx(np.quantile(whole.per_direction, 0.99))


def test_information_grows_with_the_distance_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    noise = rng.standard_normal((400, 3))
    scores = [smi(noise + gap * labels[:, None], labels, n_directions=100).mean for gap in (0, 1, 3)]
    assert scores[0] < 0.03
    assert scores[0] < scores[1] < scores[2] < np.log(2)


def test_tensors_and_arrays_give_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    hidden = rng.standard_normal((60, 4)).astype(np.float32)
    found = smi(torch.from_numpy(hidden), torch.from_numpy(labels), n_directions=9)
    assert isinstance(found.per_direction, np.ndarray)
    assert found.per_direction.dtype == np.float64
    assert isinstance(found.mean, float)
    np.testing.assert_array_equal(found.per_direction, smi(hidden, labels, n_directions=9).per_direction)


def test_what_cannot_be_scored_is_refused() -> None:
    hidden, labels = np.random.default_rng(0).standard_normal((6, 2)), [0, 0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="n_neighbors is 0"):
        smi(hidden, labels, n_neighbors=0)
    with pytest.raises(ValueError, match="n_directions is -1"):
        smi(hidden, labels, n_directions=-1)
    with pytest.raises(ValueError, match="directions have width 3"):
        smi(hidden, labels, directions=np.ones((1, 3)))
    with pytest.raises(ValueError, match="labels have shape"):
        smi(hidden, labels[:5])
    with pytest.raises(ValueError, match="the one class"):
        smi(hidden, [0] * 6)
    with pytest.raises(ValueError, match=r"\{4: 1\}"):
        smi(hidden, [4, *labels[1:]])
    with pytest.raises(ValueError, match="nan or inf in 1 of its 6 rows"):
        smi(np.where(np.arange(12).reshape(6, 2) == 3, np.inf, hidden), labels)
