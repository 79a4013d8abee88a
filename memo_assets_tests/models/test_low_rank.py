"""Several linear modules on one input, with adapters: outputs and gradients are those of the formula."""

import pytest
import torch
from torch import Tensor, nn

from memo_assets.models.low_rank import Projections
from memo_assets.models.products import FrozenLinear

K, T, D, RANK, SCALE = 3, 5, 6, 2, 1.5
WIDTHS = (4, 7, 3)


def _projections(adapted: tuple[int, ...]) -> tuple[Projections, list[Tensor]]:
    """Three modules in float64, the second with a bias, and the A and B of some."""
    torch.manual_seed(0)
    linear = tuple(
        FrozenLinear(nn.Linear(D, width, bias=width == WIDTHS[1], dtype=torch.float64)) for width in WIDTHS
    )
    a = [torch.randn(K, RANK, D, dtype=torch.float64, requires_grad=True) for _ in adapted]
    b = [torch.randn(K, WIDTHS[i], RANK, dtype=torch.float64, requires_grad=True) for i in adapted]
    return Projections(linear, adapted, SCALE), [*a, *b]


def _by_hand(
    projections: Projections, x: Tensor, mask: Tensor | None, adapters: list[Tensor]
) -> list[Tensor]:
    """Model by model, module by module."""
    n = len(projections.adapted)
    outs = []
    for place, module in enumerate(projections.linear):
        rows = []
        for k in range(K):
            out = nn.functional.linear(x[k], module.weight.detach(), module.bias)
            if place in projections.adapted:
                own = projections.adapted.index(place)
                seen = x[k] if mask is None else x[k] * mask[k]
                out = out + SCALE * seen @ adapters[own][k].T @ adapters[n + own][k].T
            rows.append(out)
        outs.append(torch.stack(rows))
    return outs


@pytest.mark.parametrize("adapted", [(), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_and_gradients_are_those_of_the_formula(adapted: tuple[int, ...], *, masked: bool) -> None:
    projections, adapters = _projections(adapted)
    x = torch.randn(K, T, D, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(K, T, D) < 0.5).double() if masked else None
    grads = [torch.randn(K, T, width, dtype=torch.float64) for width in WIDTHS]

    expected = _by_hand(projections, x, mask, adapters)
    torch.autograd.backward(expected, grads)
    with torch.no_grad():
        seen = x if mask is None else x * mask
        outs, low = projections.forward(x, seen, adapters)
        grad_low, of_adapters = projections.backward(grads, seen, low, adapters)
        grad_x = projections.grad_input(grads, grad_low, adapters, mask)

    for found, out in zip(outs, expected, strict=True):
        torch.testing.assert_close(found, out)
    torch.testing.assert_close(grad_x, x.grad)
    for found, parameter in zip(of_adapters, adapters, strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_gradients_given_are_not_changed() -> None:
    projections, adapters = _projections((0, 1))
    x = torch.randn(K, T, D, dtype=torch.float64)
    grads = [torch.randn(K, T, width, dtype=torch.float64) for width in WIDTHS]
    before = [grad.clone() for grad in grads]
    with torch.no_grad():
        _, low = projections.forward(x, x, adapters)
        grad_low, _ = projections.backward(grads, x, low, adapters)
        projections.grad_input(grads, grad_low, adapters)
    assert all(torch.equal(grad, old) for grad, old in zip(grads, before, strict=True))
