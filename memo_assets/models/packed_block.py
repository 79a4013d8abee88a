"""Whole transformer blocks with packed adapters, computed in two steps with gradients of their own.

What belongs here: what a block does before its attention and after it, for blocks built as Llama's are. What does not:
products (`low_rank`), attention itself, which stays with the transformers library or what is registered there.

Run module by module, a block is many small operations with their gradients, each a pass over all tokens. Written out as two
functions, products that share an input read it once, their gradients of it add up in place, and what is between
products takes a few passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer

from memo_assets.models.low_rank import Projections
from memo_assets.models.packed_lora import PackedLora, PackedLoraLinear
from memo_assets.models.products import FrozenLinear

_BLOCKS = (LlamaDecoderLayer, MistralDecoderLayer)
_ATTENTION = AttentionInterface()


@dataclass(frozen=True)
class _Norm:
    """Root mean square normalization (Zhang and Sennrich, NeurIPS 2019), in float32 as the transformers library does it."""

    weight: Tensor
    epsilon: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized x [..., d], and the factors [..., 1] for `backward`."""
        exact = x.float()
        lengths = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        factors = lengths.square_().div_(x.shape[-1]).add_(self.epsilon).rsqrt_()
        return (exact * factors).to(x.dtype).mul_(self.weight), factors

    def backward(self, grad: Tensor, x: Tensor, factors: Tensor) -> Tensor:
        """The gradient of x; that of the result, which is given, is overwritten."""
        scaled, exact = grad.mul_(self.weight).float(), x.float()
        towards = torch.linalg.vecdot(scaled, exact).unsqueeze(-1).mul_(factors.pow(3)).div_(-x.shape[-1])
        return scaled.mul_(factors).addcmul_(exact, towards).to(x.dtype)


@dataclass(frozen=True)
class _Parts:
    """What a block is made of; it reads tokens [B, T], in rows of K models, B / K each."""

    n_models: int
    first_norm: _Norm
    queries_keys_values: Projections
    width: int  # of a head
    output: Projections
    second_norm: _Norm
    gate_up: Projections
    down: Projections

    def by_model(self, states: Tensor) -> Tensor:
        """States [B, T, ...] of tokens as [K, B / K * T, width of all]."""
        return states.reshape(self.n_models, -1, states.shape[2:].numel())


class _BeforeAttention(torch.autograd.Function):
    """Hidden states [B, T, d], and cosines and sines [B or 1, T, width], to queries, keys and values [B, heads, T, width]."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, cos: Tensor, sin: Tensor, parts: _Parts, *adapters: Tensor
    ) -> tuple[Tensor, ...]:
        normed, factors = parts.first_norm.forward(hidden)
        normed = parts.by_model(normed)
        outs, low = parts.queries_keys_values.forward(normed, normed, adapters)
        query, key, value = (out.view(*hidden.shape[:2], -1, parts.width) for out in outs)
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
        ctx.save_for_backward(hidden, factors, normed, low, cos, sin, *adapters)
        ctx.parts = parts
        return tuple(
            states.transpose(1, 2) for states in (_rotated(query, cos, sin), _rotated(key, cos, sin), value)
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, factors, normed, low, cos, sin, *adapters = ctx.saved_tensors
        projections, by_model = ctx.parts.queries_keys_values, ctx.parts.by_model
        query, key, value = (grad.transpose(1, 2) for grad in grad_outputs)
        grads = [
            by_model(_rotated_back(query, cos, sin)),
            by_model(_rotated_back(key, cos, sin)),
            by_model(value),
        ]
        grad_low, grads_of_adapters = projections.backward(grads, normed, low, adapters)
        grad_hidden = None
        if ctx.needs_input_grad[0]:
            grad_normed = projections.grad_input(grads, grad_low, adapters).view_as(hidden)
            grad_hidden = ctx.parts.first_norm.backward(grad_normed, hidden, factors)
        return grad_hidden, None, None, None, *grads_of_adapters


class _AfterAttention(torch.autograd.Function):
    """What attention gives [B, T, heads, width], and the hidden states [B, T, d] it was made of, to the next hidden states."""

    @staticmethod
    def forward(ctx: Any, attended: Tensor, hidden: Tensor, parts: _Parts, *adapters: Tensor) -> Tensor:
        of_output, of_gate_up, of_down = _shared_out(adapters, parts)
        ctx.shape, attended = attended.shape, parts.by_model(attended)
        (out,), low = parts.output.forward(attended, attended, of_output)
        middle = out.add_(parts.by_model(hidden))
        normed, factors = parts.second_norm.forward(middle)
        (gate, up), low_gate_up = parts.gate_up.forward(normed, normed, of_gate_up)
        inner = functional.silu(gate).mul_(up)
        (result,), low_down = parts.down.forward(inner, inner, of_down)
        lows = (low, low_gate_up, low_down)
        ctx.save_for_backward(attended, middle, factors, normed, gate, up, inner, *lows, *adapters)
        ctx.parts = parts
        return result.add_(middle).view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        attended, middle, factors, normed, gate, up, inner, *others = ctx.saved_tensors
        (low, low_gate_up, low_down), adapters, parts = others[:3], others[3:], ctx.parts
        of_output, of_gate_up, of_down = _shared_out(adapters, parts)
        grad = parts.by_model(grad_outputs[0]).contiguous()

        grad_low, grads_down = parts.down.backward((grad,), inner, low_down, of_down)
        grad_inner = parts.down.grad_input((grad,), grad_low, of_down)
        grads = _gated_back(grad_inner, gate, up)
        grad_low, grads_gate_up = parts.gate_up.backward(grads, normed, low_gate_up, of_gate_up)
        grad_normed = parts.gate_up.grad_input(grads, grad_low, of_gate_up)
        grad_middle = parts.second_norm.backward(grad_normed, middle, factors).add_(grad)

        grad_low, grads_output = parts.output.backward((grad_middle,), attended, low, of_output)
        grad_attended = parts.output.grad_input((grad_middle,), grad_low, of_output)
        grads_of_adapters = (*grads_output, *grads_gate_up, *grads_down)
        return grad_attended.view(ctx.shape), grad_middle.view_as(grad_outputs[0]), None, *grads_of_adapters


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (Su et al., arXiv 2104.09864) of states [B, T, heads, width]."""
    half = states.shape[-1] // 2
    result = states * cos
    result[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
    result[..., half:].addcmul_(states[..., :half], sin[..., half:])
    return result


def _rotated_back(grad: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The gradient of `_rotated`, in row-major order."""
    half = grad.shape[-1] // 2
    result = torch.mul(grad, cos, out=grad.new_empty(grad.shape))
    result[..., :half].addcmul_(grad[..., half:], sin[..., half:])
    result[..., half:].addcmul_(grad[..., :half], sin[..., :half], value=-1)
    return result


def _gated_back(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up, from that of silu(gate) * up, which is overwritten."""
    share = torch.sigmoid(gate)
    silu = share * gate
    slope = share.addcmul_(share, silu, value=-1).add_(silu)
    grad_gate = slope.mul_(grad).mul_(up)
    return grad_gate, silu.mul_(grad)


def _shared_out(adapters: Sequence[Tensor], parts: _Parts) -> list[Sequence[Tensor]]:
    """Parameters of the second step's adapters, those of each product."""
    found: list[Sequence[Tensor]] = []
    for projections in (parts.output, parts.gate_up, parts.down):
        n = 2 * len(projections.adapted)
        found.append(adapters[:n])
        adapters = adapters[n:]
    return found


def pack_blocks(model: PreTrainedModel, pack: PackedLora) -> int:
    """Let the blocks of a model with packed adapters run as the functions of this module, where they can.

    They can if they are Llama's or Mistral's, lie on one device and are not quantized. The last block is left as it is:
    only some of its positions are needed (`training.positions`). While the pack drops inputs or is off, and with attention
    that is no registered function ("eager"), blocks run as they did.

    Args:
        model: the model, with the pack in it.
        pack: its adapters.

    Returns:
        How many blocks were changed.
    """
    changed = 0
    for block in list(getattr(model.get_decoder(), "layers", []))[:-1]:
        is_whole = not hasattr(block, "_hf_hook")  # as accelerate marks what it places on several devices
        if type(block) in _BLOCKS and block.self_attn.config.hidden_act == "silu" and is_whole:
            found = _taken_apart(block, len(pack.seeds))
            if found is not None:
                block.forward = MethodType(_forward_of(*found, pack), block)
                changed += 1
    return changed


def _taken_apart(block: Any, n_models: int) -> tuple[_Parts, list[Tensor], list[Tensor]] | None:
    """What a block is made of, and the parameters of the adapters of its two steps; None if it is quantized."""
    attention, mlp = block.self_attn, block.mlp
    groups = (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj,),
        (mlp.gate_proj, mlp.up_proj),
        (mlp.down_proj,),
    )
    projections, parameters = [], []
    for group in groups:
        packed = [module for module in group if isinstance(module, PackedLoraLinear)]
        linear = tuple(frozen for frozen in map(_frozen, group) if frozen is not None)
        if len(linear) < len(group):
            return None
        adapted = tuple(place for place, module in enumerate(group) if isinstance(module, PackedLoraLinear))
        projections.append(Projections(linear, adapted, packed[0].scale if packed else 0.0))
        parameters.append([*(module.lora_A for module in packed), *(module.lora_B for module in packed)])
    first, *second = parameters
    first_norm, second_norm = (
        _Norm(norm.weight, norm.variance_epsilon)
        for norm in (block.input_layernorm, block.post_attention_layernorm)
    )
    into, output, gate_up, down = projections
    parts = _Parts(n_models, first_norm, into, attention.head_dim, output, second_norm, gate_up, down)
    return parts, first, [parameter for group in second for parameter in group]


def _frozen(module: nn.Module) -> FrozenLinear | None:
    """A linear module of a block without its adapters; None if it is quantized."""
    if isinstance(module, PackedLoraLinear):
        module = module.base
    if isinstance(module, FrozenLinear):
        return module
    return FrozenLinear(module) if type(module) is nn.Linear else None


def _forward_of(
    parts: _Parts, first: Sequence[Tensor], second: Sequence[Tensor], pack: PackedLora
) -> Callable[..., Tensor]:
    """The method `forward` of a block."""

    def forward(
        block: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Any = None,
        **settings: Any,
    ) -> Tensor:
        attention = block.self_attn
        config = attention.config
        attend = _ATTENTION.get(config._attn_implementation)  # noqa: SLF001 - as the library chooses it
        if pack.is_off or pack.dropout.active or attend is None or past_key_values is not None:
            return type(block).forward(
                block,
                hidden_states,
                attention_mask=attention_mask,
                position_embeddings=position_embeddings,
                past_key_values=past_key_values,
                **settings,
            )
        assert position_embeddings is not None  # the model gives them
        query, key, value = _BeforeAttention.apply(hidden_states, *position_embeddings, parts, *first)
        attended, _ = attend(
            attention,
            query,
            key,
            value,
            attention_mask,
            dropout=0.0,
            scaling=attention.scaling,
            sliding_window=getattr(config, "sliding_window", None),
            **settings,
        )
        return _AfterAttention.apply(attended, hidden_states, parts, *second)

    return forward
