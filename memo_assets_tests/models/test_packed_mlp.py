"""Packed perceptrons against torch's own modules."""

from pathlib import Path

import pytest
import torch

from memo_assets.models.packed_mlp import PackedMlp


def _plain(mlp: PackedMlp, k: int) -> list[torch.nn.Linear]:
    layers = []
    for weight, bias in zip(mlp.weights, mlp.biases, strict=True):
        layer = torch.nn.Linear(weight.shape[2], weight.shape[1])
        layer.load_state_dict({"weight": weight[k], "bias": bias[k]})
        layers.append(layer)
    return layers


def test_logits_and_activations_are_those_of_separate_modules() -> None:
    mlp = PackedMlp([6, 9, 9, 4], [3, 5, 8])
    x = torch.randn(3, 7, 6)
    logits, hidden = mlp(x)
    for k in range(3):
        first, second, last = _plain(mlp, k)
        one = torch.relu(first(x[k]))
        two = torch.relu(second(one))
        torch.testing.assert_close(hidden[0][k], one)
        torch.testing.assert_close(hidden[1][k], two)
        torch.testing.assert_close(logits[k], last(two))


def test_initial_weights_are_those_of_nn_linear_and_the_split_seeds_own() -> None:
    packed, alone = PackedMlp([400, 300, 2], [3, 5]), PackedMlp([400, 300, 2], [5])
    assert torch.equal(packed.weights[0][1], alone.weights[0][0])
    assert torch.equal(packed.biases[1][1], alone.biases[1][0])
    assert not torch.equal(packed.weights[0][0], packed.weights[0][1])
    weight = packed.weights[0][0].detach()
    # nn.Linear draws uniformly from -1/sqrt(400) to 1/sqrt(400): sd = .05 / sqrt(3).
    assert float(weight.abs().max()) <= 0.05
    assert float(weight.std()) == pytest.approx(0.05 / 3**0.5, rel=0.01)
    assert float(packed.biases[0][0].detach().abs().max()) <= 0.05


def test_a_stored_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    PackedMlp([6, 9, 4], [0]).save(0, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"has shapes .* expected"):
        PackedMlp([6, 8, 4], [0]).load(0, tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="no model file"):
        PackedMlp([6, 8, 4], [0]).load(0, tmp_path / "other.safetensors")


def test_a_seed_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="each once"):
        PackedMlp([2, 2], [1, 1])
