"""Directions on the sphere, and the reading of hidden states and labels."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from memo_assets.measures.directions import class_index, direction_tensor, hidden_tensor, unit_directions


def test_directions_are_unit_vectors_repeatable_and_nested() -> None:
    directions = unit_directions(50, 7, seed=3)
    assert directions.shape == (50, 7)
    assert directions.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(directions, unit_directions(50, 7, seed=3))
    np.testing.assert_array_equal(directions[:20], unit_directions(20, 7, seed=3))
    assert not np.isclose(directions, unit_directions(50, 7, seed=4)).any(axis=1).all()


def test_directions_are_uniform_on_the_sphere() -> None:
    # On the sphere in d dimensions: mean 0, covariance I / d, and E[t^4] = 3 / (d (d + 2)).
    directions = unit_directions(40_000, 5)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(5) / 5, atol=0.005)
    np.testing.assert_allclose((directions**4).mean(axis=0), 3 / 35, atol=0.003)


def test_no_direction_or_no_dimension_is_an_error() -> None:
    with pytest.raises(ValueError, match="n_directions is 0"):
        unit_directions(0, 4)
    with pytest.raises(ValueError, match="width 0"):
        unit_directions(4, 0)


def test_directions_given_are_used_as_they_are() -> None:
    given = np.array([[3, 4], [0, 2]])
    taken = direction_tensor(given, torch.zeros(5, 2), 2000, seed=0)
    assert taken.dtype == torch.float64
    assert taken.tolist() == [[3, 4], [0, 2]]
    with pytest.raises(ValueError, match=r"directions have width 2 but the hidden states have width 3"):
        direction_tensor(given, torch.zeros(5, 3), 2000, seed=0)
    with pytest.raises(ValueError, match="directions holds nan or inf in 1 of its 2 rows"):
        direction_tensor(np.array([[1, np.nan], [0, 1]]), torch.zeros(5, 2), 2000, seed=0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int64", "float64")],
)
def test_hidden_states_keep_single_or_double_precision(given: str, expected: str) -> None:
    array = np.arange(6).reshape(3, 2).astype(given)
    assert hidden_tensor(array).dtype == getattr(torch, expected)
    assert hidden_tensor(array).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_hidden_states_are_not_copied_without_need() -> None:
    array = np.ones((4, 3), dtype=np.float32)
    assert hidden_tensor(array).data_ptr() == array.__array_interface__["data"][0]
    tensor = torch.ones(4, 3, requires_grad=True)
    assert hidden_tensor(tensor).data_ptr() == tensor.data_ptr()
    assert not hidden_tensor(tensor).requires_grad
    assert hidden_tensor(torch.ones(2, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_read_only_and_reversed_arrays_are_welcome() -> None:
    array = np.arange(6.0).reshape(3, 2)
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hidden_tensor(array[::-1]).tolist() == [[4, 5], [2, 3], [0, 1]]


def test_hidden_states_that_cannot_be_used_are_refused() -> None:
    states = np.zeros((5, 3), dtype=np.float32)
    states[1, 0] = np.nan
    states[1, 2] = np.inf
    states[4, 1] = -np.inf
    with pytest.raises(ValueError, match="hidden holds nan or inf in 2 of its 5 rows"):
        hidden_tensor(states)
    for shape in [(5,), (2, 3, 4), (0, 3), (3, 0)]:
        with pytest.raises(ValueError, match=r"train has shape .*; expected \[samples, width\]"):
            hidden_tensor(np.zeros(shape), "train")


def test_classes_are_numbered_in_sorted_order_or_as_asked() -> None:
    index, counts = class_index([11, 3, 5, 3, 11, 5, 5], 7)
    assert index.tolist() == [2, 0, 1, 0, 2, 1, 1]
    assert counts.tolist() == [2, 3, 2]
    index, counts = class_index(torch.tensor([11, 3, 5, 3, 11, 5, 5]), 7, classes=[5, 11, 3])
    assert index.tolist() == [1, 2, 0, 2, 1, 0, 0]
    assert counts.tolist() == [3, 2, 2]
    index, _ = class_index(np.array(["B", "A", "A", "B"]), 4)
    assert index.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 0], None, r"labels have shape \(3,\) but there are 4 hidden states"),
        ([[0, 1, 0, 1]], None, r"labels have shape \(1, 4\)"),
        ([7, 7, 7, 7], None, r"the one class \[7\].*at least two"),
        ([0, 0, 1, 9], None, r"at least 2 samples.*\{1: 1, 9: 1\}: leave these samples out, merge"),
        ([0, 0, 1, 1], [0, 1, 5], r"at least 2 samples.*\{5: 0\}"),
        ([0, 0, 1, 1], [0, 2], r"labels hold \[1\], which are not among the classes \[0, 2\]"),
        ([0, 0, 1, 1], [0, 1, 1], r"classes \[0, 1, 1\] name a class twice"),
    ],
)
def test_labels_that_cannot_be_modelled_are_refused(labels: list, classes: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_index(labels, 4, classes)


def test_measures_are_imported_without_torch() -> None:
    names = ("directions", "psmi", "smi", "mahalanobis")
    code = "import sys\n" + "".join(f"import memo_assets.measures.{name}\n" for name in names)
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)
