"""Directions by Hadamard transforms: what they project on, how they are distributed, and what they cost in accuracy."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.stats import kstest

from memo_assets.measures.directions import Room, unit_directions
from memo_assets.measures.hadamard import HadamardDirections
from memo_assets.measures.psmi import psmi
from memo_assets.measures.psmi_fused import FusedSums


def projected(directions: HadamardDirections, states: torch.Tensor) -> np.ndarray:
    return directions.projector(states.device)(states).numpy()


def as_matrix(directions: HadamardDirections) -> np.ndarray:
    """The directions themselves [K, d]."""
    return projected(directions, torch.eye(directions.width, dtype=torch.float64)).T


@pytest.mark.parametrize(("dim", "r", "c"), [(5, 16, 16), (256, 16, 16), (300, 16, 32), (1100, 32, 64)])
def test_a_direction_is_what_the_formula_says(dim: int, r: int, c: int) -> None:
    directions = HadamardDirections.drawn(dim, 3, 0, 2 * r + 1)
    assert directions.normals.shape == (r, c, 3)
    placed = np.zeros((dim, r * c))
    placed[np.arange(dim), directions.places] = directions.signs
    mixed = (placed @ hadamard(r * c)).reshape(dim, c, r)  # of the unit vectors: place i, j is i r + j
    for number in (0, 1, r - 1, r, 2 * r):
        block, k = divmod(number, r)
        expected = np.einsum("j,dij,ji->d", hadamard(r)[k], mixed, directions.normals[:, :, block])
        np.testing.assert_allclose(as_matrix(directions)[number], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dim", [1, 5, 64, 700])
def test_every_direction_is_normal_and_so_uniform_on_the_sphere(dim: int) -> None:
    # The same two directions of a block by many seeds: independent normal numbers, of variance 1 / w.
    found = np.array([as_matrix(HadamardDirections.drawn(dim, seed, 4, 6)) for seed in range(1500)])
    directions = HadamardDirections.drawn(dim, 0, 4, 6)
    root = np.sqrt(directions.normals[:, :, 0].size)
    for number in (0, 1):
        entries = found[:, number, :3] * root
        assert kstest(entries.ravel(), "norm").pvalue > 1e-3
        covariance = entries.T @ entries / len(entries)
        np.testing.assert_allclose(covariance, np.eye(min(dim, 3)), atol=0.15)
        # Beyond pairs: the squared length is chi-squared with d degrees of freedom.
        lengths = ((found[:, number] * root) ** 2).sum(axis=1)
        assert kstest(lengths, "chi2", args=(dim,)).pvalue > 1e-3
        np.testing.assert_allclose(
            np.sqrt((found[:, number] ** 2).sum(axis=1).mean()), directions.lengths(), rtol=0.05
        )
    crossed = (found[:, 0] * found[:, 1]).sum(axis=1) * root**2 / dim
    assert abs(crossed.mean()) < 0.15


def test_draws_are_nested_and_come_in_parts() -> None:
    whole = as_matrix(HadamardDirections.drawn(40, 7, 0, 100))
    np.testing.assert_array_equal(as_matrix(HadamardDirections.drawn(40, 7, 0, 37)), whole[:37])
    np.testing.assert_allclose(as_matrix(HadamardDirections.drawn(40, 7, 37, 100)), whole[37:], atol=1e-14)
    parts = list(HadamardDirections.drawn(40, 7, 3, 100).parts(20))
    assert [len(part) for part in parts] == [19, 19, 20, 19, 20]
    np.testing.assert_allclose(np.concatenate([as_matrix(part) for part in parts]), whole[3:], atol=1e-14)
    assert not np.isclose(as_matrix(HadamardDirections.drawn(40, 8, 0, 100)), whole).any(axis=1).any()


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 16), (0, 100), (5, 6), (5, 16), (7, 43), (16, 48)])
@pytest.mark.parametrize("dim", [9, 300])
def test_compiled_projections_are_those_of_torch(dim: int, start: int, stop: int) -> None:
    hidden = np.random.default_rng(0).standard_normal((330, dim)).astype(np.float32)
    directions = HadamardDirections.drawn(dim, 2, start, stop)
    sums = FusedSums(torch.from_numpy(hidden), np.arange(330) % 2, np.array([165, 165]), 1, room=Room())
    found, moments = sums._fast_projections(directions)
    centred = torch.from_numpy(hidden - hidden.mean(axis=0)).double()
    expected = projected(directions, centred)
    assert found.shape == expected.shape == (330, stop - start)
    # One direction each: the compiled loops have an order of their own.
    order, reference = np.argsort(found[0]), np.argsort(expected[0])
    np.testing.assert_allclose(found[:, order], expected[:, reference], atol=2e-6)
    for label in (0, 1):
        own = found[label::2].astype(np.float64)
        np.testing.assert_allclose(
            moments[:, label], [own.sum(axis=0), (own**2).sum(axis=0)], rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize(("dim", "outlier"), [(5, 1), (48, 1), (576, 1), (576, 100)])
def test_scores_scatter_as_with_independent_directions(dim: int, outlier: float) -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(160) % 4
    scale = np.arange(1, dim + 1) ** -0.5  # dimensions of unlike spread, as hidden states have them
    hidden = rng.standard_normal((160, dim)) * scale + 0.5 * (rng.standard_normal((4, dim)) * scale)[labels]
    hidden[:, 3] *= outlier
    hidden = hidden.astype(np.float32)
    seeds = range(120)
    ours = np.array([psmi(hidden, labels, n_directions=200, seed=seed).mean for seed in seeds])
    plain = np.array(
        [psmi(hidden, labels, directions=unit_directions(200, dim, seed)).mean for seed in seeds]
    )
    assert 0.7 < ours.var(axis=0).sum() / plain.var(axis=0).sum() < 1.3
    off = (ours.mean(axis=0) - plain.mean(axis=0)) / np.sqrt(
        (ours.var(axis=0) + plain.var(axis=0)) / len(seeds)
    )
    assert np.abs(off).max() < 5
    assert abs(off.mean()) < 1
