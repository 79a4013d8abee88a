"""Products with the frozen weights of a base model.

What belongs here: which library multiplies, and linear modules that are not trained. What does not: adapters
(`packed_lora`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Weights with fewer numbers are left to torch: a call of oneDNN costs more, which small products do not make up for.
_LEAST = 2**16


def by_onednn(weight: Tensor) -> bool:
    """Whether oneDNN multiplies with a weight: in float32 on a CPU, if torch was built with it and the weight is not small."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.numel() >= _LEAST
        and torch.backends.mkldnn.is_available()
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As torch's `linear`, x @ weight.T + bias, but without gradients.

    Where `by_onednn` says so, by oneDNN: it is quicker there than the BLAS that torch takes for float32, and differs from it
    by rounding. `torch.compile` calls the same operation.

    Args:
        x: [n, d_in].
        weight: [d_out, d_in], or the transpose of a contiguous matrix.
        bias: [d_out].
    """
    if by_onednn(weight) and x.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")  # noqa: SLF001
    return functional.linear(x, weight, bias)


class FrozenLinear(nn.Linear):
    """A linear module whose weights, those of the module given, get no gradient."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """[..., d_in] to [..., d_out]."""
        out = _FrozenProduct.apply(input.flatten(0, -2), self.weight, self.bias)
        return out.view(*input.shape[:-1], -1)


class _FrozenProduct(torch.autograd.Function):
    """A product through which a gradient passes to its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return product(grad_outputs[0].contiguous(), weight.t()), None, None
