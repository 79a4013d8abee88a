"""Products with the frozen weights of a base model.

What belongs here: which library multiplies, in which order weights are kept for it, and linear modules that are not
trained. What does not: adapters (`low_rank`, `packed_lora`).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Weights with fewer numbers are left to torch: a call of oneDNN costs more, which small products do not make up for.
_LEAST = 2**16
# So many bytes of weights are packed at most: they then take twice that, which of more would be missed.
_PACKED_AT_MOST = 2**30


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
        return _onednn(x, weight, bias)
    return functional.linear(x, weight, bias)


class FrozenLinear(nn.Linear):
    """A linear module whose weights, those of the module given, get no gradient."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self._packed: tuple[Tensor, Tensor] | None = None

    def pack(self) -> None:
        """Bring the weights into the order in which oneDNN reads them, which it else does at every call.

        They are then there twice, once for each direction, and not as `weight`: the module can no longer be moved, copied
        or changed. Where others hold the weights, an embedding or the mapping of a file, they stay there too. Results differ
        by rounding.
        """
        weight = self.weight.detach()
        reorder = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001 - as `torch.compile` does
        self._packed = reorder(weight), reorder(weight.t().contiguous())
        self.register_parameter("weight", None)

    def product(self, x: Tensor) -> Tensor:
        """[n, d_in] to [n, d_out], without gradients."""
        if self._packed is None:
            return product(x, self.weight, self.bias)
        return _onednn(x, self._packed[0], self.bias)

    def product_back(self, grad: Tensor) -> Tensor:
        """The gradient of the input [n, d_in], from that of the output [n, d_out]."""
        if self._packed is None:
            return product(grad, self.weight.t())
        return _onednn(grad, self._packed[1], None)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """[..., d_in] to [..., d_out]."""
        out = _FrozenProduct.apply(input.flatten(0, -2), self)
        return out.view(*input.shape[:-1], -1)


def pack_weights(modules: Iterable[FrozenLinear]) -> None:
    """Pack the weights with which oneDNN multiplies, unless those are too many altogether."""
    large = [module for module in modules if by_onednn(module.weight)]
    if sum(module.weight.nbytes for module in large) <= _PACKED_AT_MOST:
        for module in large:
            module.pack()


class _FrozenProduct(torch.autograd.Function):
    """A product through which a gradient passes to its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: FrozenLinear) -> Tensor:
        ctx.module = module
        return module.product(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.module.product_back(grad_outputs[0].contiguous()), None


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")  # noqa: SLF001
