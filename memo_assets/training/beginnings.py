"""Reading what the samples of a batch begin with once for each model, in training and in prediction.

What belongs here: how rows of tokens are laid out so, and attention on that layout. What does not: which samples make a
batch, and what is read of the result (`language`).

A row of the layout holds one model's beginning, then what follows it in each of its b samples: [K, p + b * s] tokens in
the place of [K * b, p + s]. All modules but attention look at one token at a time and need not know. A causal model
gives the tokens of a beginning the same states whatever follows, so the results are those of the samples one by one,
gradients included: those of all samples add up in the beginning's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from memo_assets.training.positions import CHECKED

_NAME = "memo_assets_beginning"


@dataclass(frozen=True)
class Layout:
    """K models' rows of b samples each, of which all begin with the same p tokens.

    n_models: K.
    n_rows: b.
    begun: p; 0 leaves the rows as they are.
    length: p + s, tokens of one padded sample.
    """

    n_models: int
    n_rows: int
    begun: int
    length: int

    def tokens(self, ids: Tensor) -> Tensor:
        """Tokens [K * b, p + s] as they are read: [K, p + b * s], or as they are."""
        if not self.begun:
            return ids
        of_models = ids.view(self.n_models, self.n_rows, self.length)
        return torch.cat([of_models[:, 0, : self.begun], of_models[:, :, self.begun :].flatten(1)], dim=1)

    def where(self, places: Tensor) -> Tensor:
        """Where positions [K * b, M] of the samples, none of them in the beginning, stand in all tokens read, counted through.

        Args:
            places: int64, positions in each sample.
        """
        row = torch.arange(self.n_models * self.n_rows, device=places.device)[:, None]
        if not self.begun:
            return row * self.length + places
        # Before row i stand the beginnings of its own and earlier models, and what follows them in the rows before.
        return (row // self.n_rows + 1) * self.begun + row * (self.length - self.begun) + places - self.begun

    def arguments(self, device: torch.device) -> dict[str, Any]:
        """What the model is told beside the tokens."""
        if not self.begun:
            return {}
        own = torch.arange(self.begun, self.length, device=device)
        positions = torch.cat([torch.arange(self.begun, device=device), own.repeat(self.n_rows)])
        seen = torch.arange(self.length, device=device) <= own[:, None]
        return {"position_ids": positions[None], "attention_mask": seen[None, None], "layout": self}


@contextmanager
def attending(model: PreTrainedModel, layout: Layout) -> Iterator[None]:
    """For a while the model's attention follows a layout; see `Layout.arguments`."""
    config = model.config
    usual = config._attn_implementation  # noqa: SLF001 - the library's one way to choose it for a pass
    if layout.begun:
        config._attn_implementation = _NAME  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = usual  # noqa: SLF001


def can_share(model: PreTrainedModel, length: int) -> bool:
    """Whether samples of so many tokens may share a beginning.

    They may in an architecture checked for it, with torch's own attention, if no window cuts what a token sees.
    """
    config = model.config
    window = getattr(config, "sliding_window", None)
    return (
        config.model_type in CHECKED
        and config._attn_implementation == "sdpa"  # noqa: SLF001
        and (window is None or length <= window)
    )


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention on a layout, with the contract of the transformers library's functions.

    query, key and value are [K, heads, p + b * s, width of a head], the result is [K, p + b * s, heads, width]; the mask
    [1, 1, s, p + s] is that of what follows the beginning.
    """
    begun, n_rows = layout.begun, layout.n_rows

    def following(states: Tensor) -> Tensor:
        return states[:, :, begun:].unflatten(2, (n_rows, -1)).transpose(1, 2).flatten(0, 1)

    def whole(states: Tensor) -> Tensor:
        beginning = states[:, None, :, :begun].expand(-1, n_rows, -1, -1, -1).flatten(0, 1)
        return torch.cat([beginning, following(states)], dim=2)

    first, _ = sdpa_attention_forward(
        module, query[:, :, :begun], key[:, :, :begun], value[:, :, :begun], None, **settings
    )
    rest, _ = sdpa_attention_forward(
        module, following(query), whole(key), whole(value), attention_mask, **settings
    )
    return torch.cat([first, rest.unflatten(0, (-1, n_rows)).flatten(1, 2)], dim=1), None


AttentionInterface.register(_NAME, _attend)
