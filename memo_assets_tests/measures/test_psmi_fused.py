"""PSMI of float32 hidden states against the same in float64, at the edges where float32 could fail."""

from concurrent.futures import ThreadPoolExecutor
from math import log

import numba
import numpy as np
import pytest
import torch

from memo_assets.measures import psmi_fused, psmi_loops
from memo_assets.measures.directions import unit_directions
from memo_assets.measures.hadamard import HadamardDirections
from memo_assets.measures.psmi import Psmi, psmi

STATISTICS = ("mean", "low", "high", "sd")


def some_states(n: int = 600, d: int = 48, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % n_classes
    hidden = rng.standard_normal((n, d)) + 0.8 * rng.standard_normal((n_classes, d))[labels]
    return hidden.astype(np.float32), labels


def assert_close(found: Psmi, expected: Psmi, tolerance: float) -> None:
    for statistic in STATISTICS:
        np.testing.assert_allclose(
            getattr(found, statistic), getattr(expected, statistic), rtol=tolerance, atol=tolerance
        )


def test_it_is_what_float32_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, labels = some_states()
    taken = []
    add = psmi_fused.FusedSums.add
    monkeypatch.setattr(
        psmi_fused.FusedSums, "add", lambda self, thetas: (taken.append(len(thetas)), add(self, thetas))
    )
    psmi(hidden, labels, n_directions=3)
    psmi(hidden.astype(np.float64), labels, n_directions=5)
    assert taken == [3]


@pytest.mark.parametrize("n_directions", [1, 2, 100, 101, 102, 1000])
@pytest.mark.parametrize("n_classes", [2, 4, 26])
def test_same_as_in_float64(n_directions: int, n_classes: int) -> None:
    hidden, labels = some_states(n_classes=n_classes)
    found = psmi(hidden, labels, n_directions=n_directions)
    assert_close(found, psmi(hidden.astype(np.float64), labels, n_directions=n_directions), 1e-5)


@pytest.mark.parametrize("n_directions", [1, 7, 101, 500])
@pytest.mark.parametrize("given", [True, False])
def test_blocks_change_nothing_and_bound_memory(
    monkeypatch: pytest.MonkeyPatch, n_directions: int, *, given: bool
) -> None:
    hidden, labels = some_states()
    directions = unit_directions(n_directions, hidden.shape[1]) if given else None
    whole = psmi(hidden, labels, directions=directions, n_directions=n_directions)
    sizes = []
    name = "_projections" if given else "_fast_projections"
    projections = getattr(psmi_fused.FusedSums, name)

    def watched(
        self: psmi_fused.FusedSums, directions: np.ndarray | HadamardDirections
    ) -> tuple[np.ndarray, np.ndarray]:
        found = projections(self, directions)
        sizes.append(found[0].size)
        return found

    monkeypatch.setattr(psmi_fused.FusedSums, name, watched)
    monkeypatch.setattr(psmi_fused, "_CELLS", 4200)  # 7 directions of 600 samples
    monkeypatch.setattr(psmi_fused, "_CENTRED_CELLS", 77 * 48)
    monkeypatch.setattr(psmi_fused, "_MIXED_CELLS", 77 * 256)
    parts = psmi(hidden, labels, directions=directions, n_directions=n_directions)
    assert len(sizes) == -(-n_directions // 7)
    assert max(sizes) <= 4200
    assert_close(parts, whole, 2e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_a_dimension_far_from_zero_costs_no_precision(offset: float) -> None:
    # As in language models, where one dimension may be thousands of times the others.
    hidden, labels = some_states()
    hidden[:, 3] += offset
    found = psmi(hidden, labels, n_directions=200)
    assert_close(found, psmi(hidden.astype(np.float64), labels, n_directions=200), 2e-5)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_far_sample_disturbs_no_other(scale: float) -> None:
    hidden, labels = some_states()
    hidden[5] *= 1e4
    hidden *= np.float32(scale)
    found, expected = (
        psmi(hidden.astype(dtype), labels, n_directions=200) for dtype in (np.float32, np.float64)
    )
    assert_close(found, expected, 2e-4)


def test_a_class_of_identical_hidden_states_has_finite_scores() -> None:
    hidden, labels = some_states()
    hidden[labels == 1] = np.linspace(-3, 5, hidden.shape[1])
    found = psmi(hidden, labels, n_directions=200)
    for statistic in STATISTICS:
        assert np.isfinite(getattr(found, statistic)).all()
    np.testing.assert_allclose(found.mean[labels == 1], log(4), atol=1e-3)
    others = labels != 1
    expected = psmi(hidden.astype(np.float64), labels, n_directions=200)
    # Float32 makes the peak wider than float64 does: a rare direction takes another sample into it.
    off = np.abs(found.mean[others] - expected.mean[others])
    assert np.quantile(off, 0.99) < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_identical_hidden_states_tell_nothing(value: float) -> None:
    hidden = (np.full((1200, 6), value) * np.linspace(1, 3, 6)).astype(np.float32)
    found = psmi(hidden, np.arange(1200) % 3, n_directions=50)
    for statistic in STATISTICS:
        np.testing.assert_allclose(getattr(found, statistic), 0, atol=1e-5)


@pytest.mark.parametrize("size", [1e20, 3e38])
def test_values_too_large_for_float32_are_refused_and_taken_as_float64(size: float) -> None:
    hidden, labels = some_states()
    hidden = (hidden / np.abs(hidden).max() * size).astype(np.float32)
    with pytest.raises(ValueError, match="whose squares exceed float32: pass the hidden states as float64"):
        psmi(hidden, labels, n_directions=5)
    assert np.isfinite(psmi(hidden.astype(np.float64), labels, n_directions=5).mean).all()


def test_threads_and_settings_of_torch_change_no_bit() -> None:
    hidden, labels = some_states(n=1500)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    found = []
    try:
        for count, setting in ((1, "highest"), (2, "highest"), (3, "medium")):
            torch.set_num_threads(count)
            torch.set_float32_matmul_precision(setting)
            found.append(psmi(hidden, labels, n_directions=300))
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    for other in found[1:]:
        for statistic in STATISTICS:
            np.testing.assert_array_equal(getattr(other, statistic), getattr(found[0], statistic))


def test_several_callers_at_once_do_not_disturb_each_other() -> None:
    hidden, labels = some_states()
    alone = [psmi(hidden, labels, n_directions=200, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: psmi(hidden, labels, n_directions=200, seed=seed), range(4)))
    for one, other in zip(alone, together, strict=True):
        assert_close(one, other, 2e-6)


@pytest.mark.parametrize("kind", ["normal", "ties", "constant", "far", "huge"])
@pytest.mark.parametrize("n_tail", [1, 2, 21, 102])
def test_outermost_values_are_those_of_a_sort_block_by_block(kind: str, n_tail: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(2900)
    if kind == "ties":
        values = values.round(1)
    if kind == "constant":
        values[:] = -0.3
    if kind == "far":
        values += 3e4
    if kind == "huge":
        values[:1000] *= 1e30
    values = values.astype(np.float32)
    lowest, highest = np.full((2, n_tail), np.inf, np.float32)
    groups = np.empty((2, (n_tail * 3 // 2 + 15) // 16 * 16), np.float32)
    for block in np.split(values, [3, 40, 2500]):
        psmi_loops.keep_outermost(block, lowest, highest, groups, np.empty((2, len(block) + 1), np.float32))
    np.testing.assert_array_equal(lowest, np.sort(values)[:n_tail])
    np.testing.assert_array_equal(-highest, np.sort(values)[::-1][:n_tail])


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_class_whose_density_is_beyond_float32_is_told_exactly(n_classes: int) -> None:
    # Two narrow classes far apart: the labels of two samples are exchanged, so their own density is far below e^-80 of the other's.
    rng = np.random.default_rng(0)
    labels = np.arange(500 * n_classes) % n_classes
    hidden = 0.01 * rng.standard_normal((len(labels), 3)) + 40.0 * labels[:, None]
    labels[[0, 1]] = labels[[1, 0]]
    found, expected = (
        psmi(hidden.astype(dtype), labels, directions=np.eye(3)) for dtype in (np.float32, np.float64)
    )
    assert expected.mean[0] < -100
    assert_close(found, expected, 1e-3)


def test_exponential_and_logarithm_are_those_of_float64() -> None:
    @numba.njit
    def of_all(function, x):
        found = np.empty_like(x)
        for i in range(len(x)):
            found[i] = function(x[i])
        return found

    x = np.linspace(-86.9, 80, 400_001, dtype=np.float32)
    np.testing.assert_allclose(of_all(psmi_loops.exponential, x), np.exp(x.astype(np.float64)), rtol=3e-7)
    assert of_all(psmi_loops.exponential, np.array([0], np.float32)) == 1
    assert of_all(psmi_loops.exponential, np.array([-3e38], np.float32)) < 1e-37
    x = np.geomspace(1, 1e6, 200_001, dtype=np.float32)
    np.testing.assert_allclose(
        of_all(psmi_loops.logarithm, x), np.log(x.astype(np.float64)), rtol=2e-7, atol=1e-7
    )
    assert of_all(psmi_loops.logarithm, np.array([1], np.float32)) == 0
