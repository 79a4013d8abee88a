"""Norms of updates against dense matrices and numpy's own norms."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from memo_assets.measures import weight_norms as module
from memo_assets.measures.weight_norms import (
    Norms,
    dense_norms,
    product_distance,
    product_norms,
    total,
    weight_norms,
)
from memo_assets.models.packed_wide_resnet import PackedWideResNet

RNG = np.random.default_rng(0)
A0, A1, B1 = (RNG.standard_normal(shape).astype(np.float32) for shape in ((3, 11), (3, 11), (7, 3)))
B0 = np.zeros_like(B1)


def by_numpy(matrix: np.ndarray) -> Norms:
    return Norms(
        *(float(np.linalg.norm(matrix.astype(np.float64), kind)) for kind in ("fro", "nuc", 2, np.inf))
    )


def test_a_product_has_the_norms_of_the_dense_matrix(monkeypatch: pytest.MonkeyPatch):
    dense = 1.5 * B1.astype(np.float64) @ A1
    assert product_norms(B1, A1, 1.5) == pytest.approx(by_numpy(dense))
    monkeypatch.setattr(module, "_CELLS", 22)  # two rows at a time
    assert product_norms(B1, A1, 1.5) == pytest.approx(by_numpy(dense))
    assert product_norms(B0, A1) == (0, 0, 0, 0)


def test_the_distance_is_the_norm_of_the_difference():
    start = RNG.standard_normal((7, 3))
    dense = 2.0 * (B1.astype(np.float64) @ A1 - start @ A0)
    assert product_distance((B1, A1), (start, A0), 2.0) == pytest.approx(by_numpy(dense))


def test_the_total_is_the_norm_of_the_block_diagonal_matrix():
    first, second = RNG.standard_normal((4, 5)), RNG.standard_normal((3, 2))
    whole = np.zeros((7, 7))
    whole[:4, :5], whole[4:, 5:] = first, second
    assert total([dense_norms(first), dense_norms(second)]) == pytest.approx(by_numpy(whole))


def test_every_module_of_an_adapter_has_three_matrices():
    now = {"m.x.lora_A.weight": A1, "m.x.lora_B.weight": B1, "m.y.lora_A.weight": A0, "m.y.lora_B.weight": B0}
    start = {**now, "m.x.lora_A.weight": A0, "m.x.lora_B.weight": B0}
    rows = weight_norms(now, start, scale=2.0)
    assert len(rows) == 3 * 3 * 4
    found = {(row["module"], row["matrix"], row["norm"]): (row["value"], row["distance"]) for row in rows}
    update = by_numpy(2.0 * B1.astype(np.float64) @ A1)
    for name, value in update._asdict().items():
        assert found["m.x", "BA", name] == pytest.approx((value, value))  # it was 0 at the start
        assert found["all", "BA", name] == pytest.approx((value, value))  # the other module has not moved
    assert found["m.x", "A", "nuclear"] == pytest.approx((by_numpy(A1).nuclear, by_numpy(A1 - A0).nuclear))
    assert found["m.y", "A", "spectral"] == pytest.approx((by_numpy(A0).spectral, 0))


def test_other_models_have_their_matrices_and_no_vectors():
    kernels = RNG.standard_normal((4, 2, 3, 3))
    rows = weight_norms(
        {"c.weight": kernels, "c.bias": np.ones(4)}, {"c.weight": 0 * kernels, "c.bias": np.ones(4)}
    )
    assert {(row["module"], row["matrix"]) for row in rows} == {("c", "W"), ("all", "W")}
    assert rows[1]["value"] == rows[1]["distance"] == pytest.approx(by_numpy(kernels.reshape(4, -1)).nuclear)


def test_batch_norm_has_no_matrix(tmp_path: Path):
    network = PackedWideResNet((1, 8, 8), 3, depth=10, width=1, seeds=[0])
    network.save(0, tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    assert "norm.running_var" in weights
    modules = {row["module"] for row in weight_norms(weights, weights)}
    # Six convolutions of three blocks, two shortcuts, the first convolution, the linear layer.
    assert len(modules) == 6 + 2 + 1 + 1 + 1
    assert not any("norm" in str(module) for module in modules)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"factors \(7, 3\) and \(2, 11\)"):
        product_norms(B1, A1[:2])
    with pytest.raises(ValueError, match=r"weights \['b'\] are not in both"):
        weight_norms({"a": A1}, {"a": A1, "b": A1})
    with pytest.raises(ValueError, match="none of the 1 weights has two dimensions"):
        weight_norms({"a": A1[0]}, {"a": A1[0]})
