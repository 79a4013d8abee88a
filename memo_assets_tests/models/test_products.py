"""Products with frozen weights: those of torch, whichever library multiplies."""

import pytest
import torch
from torch import nn

from memo_assets.config import Lora
from memo_assets.models import products
from memo_assets.models.packed_lora import PackedLoraLinear, pack_lora
from memo_assets.models.products import FrozenLinear, by_onednn, pack_weights, product

WIDE = (256, 320)  # above the size from which oneDNN multiplies


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("rows", [1, 7, 115])
@pytest.mark.parametrize("shape", [WIDE, (3, 5)])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_product_is_that_of_float64(
    rows: int, shape: tuple[int, int], *, is_transposed: bool, has_bias: bool
) -> None:
    weight = _random(*shape).t() if is_transposed else _random(*shape)
    assert by_onednn(weight) is (shape == WIDE and torch.backends.mkldnn.is_available())
    x, bias = _random(rows, weight.shape[1]), _random(weight.shape[0]) if has_bias else None
    expected = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
    torch.testing.assert_close(product(x, weight, bias).double(), expected, atol=1e-4, rtol=1e-5)


def test_rows_that_lie_apart_are_multiplied_as_they_are() -> None:
    weight, wide = _random(*WIDE), _random(9, 2 * WIDE[1])
    torch.testing.assert_close(product(wide[:, ::2], weight), wide[:, ::2] @ weight.t(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_stay_with_torch(dtype: torch.dtype) -> None:
    weight, x = _random(*WIDE).to(dtype), _random(4, WIDE[1]).to(dtype)
    assert not by_onednn(weight)
    assert torch.equal(product(x, weight), nn.functional.linear(x, weight))


@pytest.mark.parametrize("has_bias", [False, True])
def test_a_frozen_module_passes_the_gradient_to_its_input_alone(*, has_bias: bool) -> None:
    base = nn.Linear(WIDE[1], WIDE[0], bias=has_bias).requires_grad_(requires_grad=False)
    frozen = FrozenLinear(base)
    assert frozen.weight is base.weight
    assert frozen.bias is base.bias
    found, expected = (_random(2, 3, WIDE[1]).requires_grad_() for _ in range(2))
    for module, x in ((frozen, found), (base, expected)):
        (module(x).square()).sum().backward()
    torch.testing.assert_close(frozen(found), base(found), atol=1e-5, rtol=1e-5)
    assert found.grad is not None
    torch.testing.assert_close(found.grad, expected.grad, atol=1e-4, rtol=1e-5)
    assert base.weight.grad is None


def test_of_a_model_all_large_linear_modules_but_the_targets_become_frozen_ones() -> None:
    model = nn.ModuleDict(
        {
            "target": nn.Linear(*WIDE),
            "large": nn.Linear(*WIDE),
            "small": nn.Linear(3, 5),
            "quantized": _Quantized(*WIDE),
        }
    )
    large = model["large"]
    assert isinstance(large, nn.Linear)
    weight = large.weight
    pack_lora(model, Lora(rank=2, alpha=4, targets=["target"]), [0, 1])
    kinds = {name: type(module) for name, module in model.items()}
    assert kinds == {
        "target": PackedLoraLinear,
        "large": FrozenLinear,
        "small": nn.Linear,
        "quantized": _Quantized,
    }
    assert type(model["target"].base) is FrozenLinear
    found, x = model["large"], _random(3, WIDE[0])
    assert isinstance(found, FrozenLinear)
    torch.testing.assert_close(found(x), nn.functional.linear(x, weight, large.bias), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 115, 600])
@pytest.mark.parametrize("has_bias", [False, True])
def test_packed_weights_give_the_same(rows: int, *, has_bias: bool) -> None:
    base = nn.Linear(WIDE[1], WIDE[0], bias=has_bias).requires_grad_(requires_grad=False)
    plain, packed = FrozenLinear(base), FrozenLinear(base)
    packed.pack()
    assert packed.weight is None
    x, grad = _random(rows, WIDE[1]), _random(rows, WIDE[0])
    torch.testing.assert_close(packed.product(x), plain.product(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.product_back(grad), plain.product_back(grad), atol=1e-5, rtol=1e-5)
    x.requires_grad_()
    packed(x).backward(grad)
    assert x.grad is not None
    assert torch.equal(x.grad, packed.product_back(grad))


def test_what_oneDNN_does_not_multiply_is_left_and_so_is_all_where_it_is_too_much(  # noqa: N802 - its name
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large, other = (FrozenLinear(nn.Linear(*shape)) for shape in ((3, 5), WIDE, WIDE))
    monkeypatch.setattr(products, "_PACKED_AT_MOST", 2 * 4 * WIDE[0] * WIDE[1] - 1)
    pack_weights([small, large, other])
    assert all(module.weight is not None for module in (small, large, other))
    pack_weights([small, large])
    assert small.weight is not None
    assert large.weight is None
    assert other.weight is not None


def test_a_weight_shared_with_the_embedding_stays_there() -> None:
    embedding, head = nn.Embedding(*WIDE), nn.Linear(WIDE[1], WIDE[0], bias=False)
    head.weight = embedding.weight
    model = nn.ModuleDict({"embedding": embedding, "target": nn.Linear(3, 5), "head": head})
    x, tokens = _random(2, WIDE[1]), torch.tensor([1, 200])
    expected, seen = head(x), embedding(tokens)
    pack_lora(model, Lora(rank=2, alpha=4, targets=["target"]), [0])
    assert model["head"].weight is None
    torch.testing.assert_close(model["head"](x), expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(model["embedding"](tokens), seen)


class _Quantized(nn.Linear):
    """A linear module that computes in its own way."""
