"""Frozen linear modules with the low-rank updates of K adapters: results and gradients.

What belongs here: the products, for modules that read the same input at once, so that it is read once for the A of all of
them. What does not: modules (`packed_lora`), what surrounds them in a model (`packed_block`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memo_assets.models.products import FrozenLinear


@dataclass(frozen=True)
class Projections:
    """Linear modules that read the same input.

    Shapes: input [K, T, d]; A [K, r, d] and B [K, d_out, r] of each module with adapters, given as all A, then all B;
    outputs [K, T, d_out], one for each module. `low` [K, T, n * r] is what the A of n modules make of the input, scaled.

    Attributes:
        linear: the modules.
        adapted: which of them have adapters, as positions.
        scale: of the updates.
    """

    linear: tuple[FrozenLinear, ...]
    adapted: tuple[int, ...]
    scale: float

    def forward(
        self, x: Tensor, seen: Tensor, adapters: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor | None]:
        """Outputs, and `low` for the gradients; None without adapters.

        Args:
            x: the input.
            seen: what of it the adapters see, the same without dropout.
            adapters: A and B.
        """
        rows = x.flatten(0, 1)
        outs = [module.product(rows).view(*x.shape[:2], -1) for module in self.linear]
        if not self.adapted:
            return outs, None
        low = torch.bmm(seen, self._joint_a(adapters, x.dtype).transpose(1, 2)).mul_(self.scale)
        for place, b, own in zip(self.adapted, self._b(adapters), self._parts(low, dim=2), strict=True):
            outs[place].baddbmm_(own, b.to(x.dtype).transpose(1, 2))
        return outs, low

    def backward(
        self, grads: Sequence[Tensor], seen: Tensor, low: Tensor | None, adapters: Sequence[Tensor]
    ) -> tuple[Tensor | None, list[Tensor]]:
        """The gradient of `low` before it was scaled, and those of the adapters.

        Args:
            grads: of the outputs.
            seen: as in `forward`.
            low: from there.
            adapters: A and B.
        """
        if low is None:
            return None, []
        own_grads = [grads[place] for place in self.adapted]
        grad_lows = [
            torch.bmm(grad, b.to(grad.dtype)) for grad, b in zip(own_grads, self._b(adapters), strict=True)
        ]
        grad_low = (grad_lows[0] if len(grad_lows) == 1 else torch.cat(grad_lows, dim=2)).mul_(self.scale)
        grad_a = torch.bmm(grad_low.transpose(1, 2), seen).to(adapters[0].dtype)
        # Those of B are computed as transposes, which for wide outputs is quicker on a CPU.
        grads_b = [
            torch.bmm(own.transpose(1, 2), grad).transpose(1, 2).to(adapters[0].dtype)
            for own, grad in zip(self._parts(low, dim=2), own_grads, strict=True)
        ]
        return grad_low, [*self._parts(grad_a, dim=1), *grads_b]

    def grad_input(
        self,
        grads: Sequence[Tensor],
        grad_low: Tensor | None,
        adapters: Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> Tensor:
        """The gradient of the input, a new tensor.

        Args:
            grads: of the outputs.
            grad_low: from `backward`.
            adapters: A and B.
            mask: what the adapters see of the input, as zeros and ones; all by default.
        """
        first, *others = (
            module.product_back(grad.flatten(0, 1)) for module, grad in zip(self.linear, grads, strict=True)
        )
        for other in others:
            first.add_(other)
        grad_x = first.view(*grads[0].shape[:2], -1)
        if grad_low is None:
            return grad_x
        a = self._joint_a(adapters, grad_x.dtype)
        return grad_x.baddbmm_(grad_low, a) if mask is None else grad_x.addcmul_(grad_low @ a, mask)

    def _joint_a(self, adapters: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """A of all modules, [K, n * r, d]."""
        n = len(self.adapted)
        return (adapters[0] if n == 1 else torch.cat(tuple(adapters[:n]), dim=1)).to(dtype)

    def _b(self, adapters: Sequence[Tensor]) -> Sequence[Tensor]:
        return adapters[len(self.adapted) :]

    def _parts(self, joint: Tensor, *, dim: int) -> Sequence[Tensor]:
        """What belongs to each module with adapters."""
        return joint.chunk(len(self.adapted), dim=dim)
