"""Many low-rank adapters of one frozen base model, trained side by side.

What belongs here: the module that computes K adapters at once, its initial weights, its dropout masks, and the
function that puts it into a model. What does not: files (`peft_format`), data and losses (`training`).

Adapter k of a pack sees the k-th equal share of the batch, so that one pass through the frozen base serves all
adapters and each product with adapter weights is one batched product. Nothing drawn for an adapter depends on the
others in its pack: a split seed trained alone or among thirty gives the same model up to float rounding.
LoRA: Hu et al., ICLR 2022.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memo_assets.config import Lora
from memo_assets.models.low_rank import Projections
from memo_assets.models.products import FrozenLinear, by_onednn, pack_weights

_INIT, _DROPOUT = 1, 2


def seeded_generator(split_seed: int, *path: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that depends on the split seed and the numbers in `path`, and on nothing else."""
    state = np.random.SeedSequence([split_seed, *path]).generate_state(1, np.uint64)
    return torch.Generator(device=device).manual_seed(int(state[0]))


class AdapterDropout:
    """Dropout masks of a pack, drawn per adapter from its split seed and the step alone.

    The modules of one forward pass draw one after another from the same K generators; `start` seeds them anew, so a
    resumed run needs no generator state. Each adapter draws for its own padded batch: how far the pack as a whole is
    padded changes none of its masks.
    """

    def __init__(self, seeds: Sequence[int], probability: float) -> None:
        self.keep = 1 - probability
        self._seeds = tuple(seeds)
        self._generators: list[torch.Generator] = []
        self._batch, self._lengths, self._answers = 0, (), ()

    @property
    def active(self) -> bool:
        """Whether a training step is under way that drops anything."""
        return bool(self._generators)

    def start(
        self,
        step: int,
        batch: int,
        lengths: Sequence[int],
        *,
        device: torch.device | str,
        answers: Sequence[int] | None = None,
    ) -> None:
        """Begin a training step.

        Args:
            step: number of the pass in the run.
            batch: samples per adapter.
            lengths: tokens to which adapter k is padded.
            device: where masks are drawn.
            answers: positions per sample, padded likewise, of modules that see only those which predict its answer;
                one by default.
        """
        if self.keep < 1:
            self._generators = [seeded_generator(s, _DROPOUT, step, device=device) for s in self._seeds]
            self._batch, self._lengths = batch, tuple(lengths)
            self._answers = tuple(answers or [1] * len(self._seeds))

    def stop(self) -> None:
        """End the training step: no dropout from here on."""
        self._generators = []

    def mask(self, x: Tensor) -> Tensor:
        """Ones where x [K, batch * tokens, d] is kept, zeros where it is dropped; not yet scaled by 1 / keep.

        Raises:
            ValueError: x holds neither the positions of the answers nor all positions of the padded pack.
        """
        n_tokens, width = x.shape[1] // self._batch, x.shape[2]
        if n_tokens not in (max(self._answers), max(self._lengths)):
            raise ValueError(
                f"a target module got {n_tokens} tokens per sample, expected {max(self._answers)} or "
                f"{max(self._lengths)}: its model regroups tokens, which packed adapters with dropout cannot follow; "
                "set lora.dropout to 0"
            )
        own_lengths = self._lengths if n_tokens == max(self._lengths) else self._answers
        # Float32 whatever x is: bf16 would round the probability. Uniform draws take half the time of Bernoulli's.
        drawn = torch.zeros(len(self._seeds), self._batch, n_tokens, width, device=x.device)
        for k, (generator, length) in enumerate(zip(self._generators, own_lengths, strict=True)):
            if length >= n_tokens:
                drawn[k].uniform_(generator=generator)
            else:
                own = torch.empty(self._batch, length, width, device=x.device)
                drawn[k, :, :length] = own.uniform_(generator=generator)
        return drawn.lt_(self.keep).view_as(x).to(x.dtype)


class _LinearWithUpdates(torch.autograd.Function):
    """Frozen linear map plus K low-rank updates, with their gradients.

    Written out because autograd would make a copy of the base output, of every transposed weight gradient, and of the
    input gradient that the base and the updates add up to.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, projection: Projections, *adapters: Tensor
    ) -> Tensor:
        seen = x if mask is None else x * mask
        (out,), low = projection.forward(x, seen, adapters)
        ctx.save_for_backward(seen, mask, low, *adapters)
        ctx.projection = projection
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        seen, mask, low, *adapters = ctx.saved_tensors
        grads = (grad_outputs[0].contiguous(),)
        grad_low, grads_of_adapters = ctx.projection.backward(grads, seen, low, adapters)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = ctx.projection.grad_input(grads, grad_low, adapters, mask)
        return grad_x, None, None, *grads_of_adapters


class PackedLoraLinear(nn.Module):
    """A frozen linear module plus K adapters: base(x) + scale * B_k A_k dropout(x).

    Shapes: x [K * b, ..., d_in], adapter k owning rows k * b to (k + 1) * b; lora_A [K, r, d_in];
    lora_B [K, d_out, r]; result [K * b, ..., d_out]. Adapter weights are float32 and used in the type of x.
    """

    def __init__(
        self, base: nn.Linear, n_adapters: int, rank: int, *, scale: float, dropout: AdapterDropout
    ) -> None:
        super().__init__()
        self.base = FrozenLinear(base) if type(base) is nn.Linear else base
        self.scale = scale
        self.lora_A = nn.Parameter(torch.zeros(n_adapters, rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(n_adapters, base.out_features, rank))
        self.is_off = False
        self._dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Base output plus every adapter's own update; the base output alone while `PackedLora.off` lasts.

        Raises:
            ValueError: the first dimension of x is not a multiple of the number of adapters.
        """
        if self.is_off:
            return self.base(x)
        n_adapters = self.lora_A.shape[0]
        if x.shape[0] % n_adapters:
            raise ValueError(f"{x.shape[0]} rows cannot be shared equally among {n_adapters} packed adapters")
        tokens = x.reshape(n_adapters, -1, x.shape[-1])
        mask, scale = None, self.scale
        if self._dropout.active:
            mask, scale = self._dropout.mask(tokens), self.scale / self._dropout.keep
        if isinstance(self.base, FrozenLinear):
            projection = Projections((self.base,), (0,), scale)
            out = _LinearWithUpdates.apply(tokens, mask, projection, self.lora_A, self.lora_B)
        else:  # quantized: only the base module itself knows how to multiply by its weights
            seen = tokens if mask is None else tokens * mask
            low = torch.bmm(seen, self.lora_A.to(x.dtype).transpose(1, 2)) * scale
            updates = torch.bmm(low, self.lora_B.to(x.dtype).transpose(1, 2))
            out = self.base(x).view_as(updates) + updates
        return out.view(*x.shape[:-1], -1)


@dataclass(frozen=True)
class PackedLora:
    """K adapters inside one model: their modules by name, in the model's order, and what they share."""

    modules: dict[str, PackedLoraLinear]
    seeds: tuple[int, ...]
    lora: Lora
    dropout: AdapterDropout

    def parameters(self) -> dict[str, nn.Parameter]:
        """Stacked parameters [K, ...] by name, in a fixed order."""
        named: dict[str, nn.Parameter] = {}
        for name, module in self.modules.items():
            named[f"{name}.lora_A"] = module.lora_A
            named[f"{name}.lora_B"] = module.lora_B
        return named

    @property
    def is_off(self) -> bool:
        """Whether `off` lasts."""
        return next(iter(self.modules.values())).is_off

    @contextmanager
    def off(self) -> Iterator[None]:
        """For a while the model is the base alone, and takes any number of rows."""
        for module in self.modules.values():
            module.is_off = True
        try:
            yield
        finally:
            for module in self.modules.values():
                module.is_off = False


def pack_lora(model: nn.Module, lora: Lora, seeds: Sequence[int]) -> PackedLora:
    """Replace the target modules of a model, in place, by modules that carry one adapter per split seed.

    All other parameters are frozen, and the other linear modules become `FrozenLinear` where that is quicker. A
    starts Kaiming-uniform with a = sqrt(5) and B at zero, as PEFT does; each split seed draws the A of all modules in the
    model's order from its own CPU generator, whatever the device.

    Args:
        model: any model whose targets are `nn.Linear`, those quantized by bitsandbytes among them.
        lora: rank, alpha, dropout and the last names of the target modules.
        seeds: split seeds of the pack, each once.

    Raises:
        ValueError: a target name that is no linear module of the model; no seeds, or a seed given twice.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"a pack needs split seeds, each once; given {list(seeds)}")
    targets = _target_modules(model, lora.targets)
    model.requires_grad_(requires_grad=False)
    dropout = AdapterDropout(seeds, lora.dropout)
    generators = [seeded_generator(seed, _INIT) for seed in seeds]
    packed: dict[str, PackedLoraLinear] = {}
    for name, base in targets.items():
        module = PackedLoraLinear(base, len(seeds), lora.rank, scale=lora.alpha / lora.rank, dropout=dropout)
        with torch.no_grad():
            for k, generator in enumerate(generators):
                nn.init.kaiming_uniform_(module.lora_A[k], a=math.sqrt(5), generator=generator)
        model.set_submodule(name, module.to(base.weight.device))
        packed[name] = module
    for name, module in list(model.named_modules()):
        if (
            type(module) is nn.Linear
            and name.removesuffix(".base") not in packed
            and by_onednn(module.weight)
        ):
            model.set_submodule(name, FrozenLinear(module))
    pack_weights(module for module in model.modules() if isinstance(module, FrozenLinear))
    return PackedLora(packed, tuple(seeds), lora, dropout)


def _target_modules(model: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """Linear modules by full name whose last name is a target, in the model's order."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    known = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise ValueError(f"lora.targets {unknown} are no linear modules of the model; it has {known}")
    return {name: module for name, module in linear.items() if name.rpartition(".")[2] in targets}
