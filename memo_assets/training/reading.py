"""How the samples of a batch are laid out as rows of tokens for the model to read.

What belongs here: rows padded to the longest sample, rows without padding in which a beginning that samples share stands
once, and attention on these. What does not: which samples make a batch, and what is read of the result (`language`).

A row without padding holds one model's beginning of p tokens, then what follows it in each of its samples, one after
another: [K, p + sum of s_i] tokens in the place of [K * b, p + longest s]. All modules but attention look at one token
at a time and need not know. A causal model gives the tokens of a beginning the same states whatever follows, so the
results are those of the samples one by one, gradients included: those of all samples add up in the beginning's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from memo_assets.training.positions import CHECKED

_NAME = "memo_assets_joined"


class Layout(Protocol):
    """Where the tokens of K models' samples, b each, stand in the rows that are read."""

    def tokens(self, ids: np.ndarray) -> np.ndarray:
        """Rows to read, from the samples' tokens [K * b, longest sample], padded on the right."""
        ...

    def where(self, places: np.ndarray) -> np.ndarray:
        """Where places [K * b, M] in the samples stand among all tokens read, counted through.

        None of them is in a beginning that samples share; one behind the end of a sample counts as its last.
        """
        ...

    def arguments(self, device: torch.device) -> dict[str, Any]:
        """What the model is told beside the tokens."""
        ...


class Padded:
    """A row for each sample, as long as the longest; a causal model needs no mask for that.

    Args:
        lengths: int64 [K, b], tokens of every sample.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        self._lengths = lengths.reshape(-1, 1)

    def tokens(self, ids: np.ndarray) -> np.ndarray:
        """See `Layout`."""
        return ids

    def where(self, places: np.ndarray) -> np.ndarray:
        """See `Layout`."""
        first = np.arange(len(places))[:, None] * self._lengths.max()
        return first + np.minimum(places, self._lengths - 1)

    def arguments(self, device: torch.device) -> dict[str, Any]:
        """See `Layout`."""
        del device  # nothing is told
        return {}


class Joined:
    """A row for each model: the beginning of its samples once, then what follows in each of them, without padding between.

    A row ends with padding where another model's samples have more tokens.

    Args:
        lengths: int64 [K, b], tokens of every sample.
        begun: p, how many tokens all of them begin with; less than any length.
    """

    def __init__(self, lengths: np.ndarray, begun: int) -> None:
        (n_models, n_rows), self._begun = lengths.shape, begun
        follow = lengths - begun
        ends = begun + follow.cumsum(axis=1)
        self._shape = (n_models, int(ends[:, -1].max()))
        place = np.arange(follow.max())
        first = ends - follow + np.arange(n_models)[:, None] * self._shape[1]
        # Both [K * b, longest s]: whether a padded sample has a token at a place, and which of all it is or was last.
        self._is_real = (place < follow[:, :, None]).reshape(n_models * n_rows, -1)
        self._token = (first[:, :, None] + np.minimum(place, follow[:, :, None] - 1)).reshape(
            self._is_real.shape
        )

    def tokens(self, ids: np.ndarray) -> np.ndarray:
        """See `Layout`."""
        return self._rows(ids[:: len(ids) // self._shape[0], : self._begun], ids[:, self._begun :])

    def where(self, places: np.ndarray) -> np.ndarray:
        """See `Layout`."""
        own = np.minimum(places - self._begun, self._is_real.shape[1] - 1)
        return np.take_along_axis(self._token, own, axis=1)

    def arguments(self, device: torch.device) -> dict[str, Any]:
        """See `Layout`."""
        n_rows = len(self._token) // self._shape[0]
        place = self._begun + np.arange(self._token.shape[1])
        positions = self._rows(np.arange(self._begun), np.broadcast_to(place, self._token.shape))
        slots = self._rows(0, np.arange(self._token.size).reshape(self._token.shape))[:, self._begun :]
        seen = np.arange(self._begun + len(place)) <= place[:, None]

        def there(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        return {
            "position_ids": there(positions),
            "attention_mask": there(seen[None, None]),
            "slots": _Slots(self._begun, n_rows, there(self._token.ravel()), there(slots.ravel())),
        }

    def _rows(self, beginning: Any, following: np.ndarray) -> np.ndarray:
        """Values [K, T] of all tokens, from those of beginnings [K, p] and of padded samples [K * b, longest s]; 0 in padding."""
        rows = np.zeros(self._shape, following.dtype)
        rows[:, : self._begun] = beginning
        rows.ravel()[self._token[self._is_real]] = following[self._is_real]
        return rows


@dataclass(frozen=True)
class _Slots:
    """How attention finds the samples in rows that are joined.

    What follows the beginning it sees as padded samples, in slots [K * b, longest s] counted through. Nothing looks at a
    slot behind the end of a sample, which holds the sample's last token, nor at padding of a row, which is given what
    the first slot has.

    begun: p.
    n_rows: b.
    token_of_slot: int64 [K * b * longest s], among all tokens [K, T].
    slot_of_token: int64 [K * (T - p)], of the tokens behind the beginnings.
    """

    begun: int
    n_rows: int
    token_of_slot: Tensor
    slot_of_token: Tensor


def common_beginning(ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> int:
    """How many tokens the contexts of all rows [b] begin with, the last token of a context left out.

    Args:
        ids: tokens of all contexts, one after another.
        offsets: int64 [N + 1], where each begins.
        rows: int64 [b], samples as positions in the data set.
    """
    longest = int((offsets[rows + 1] - offsets[rows]).min()) - 1
    of_rows = ids[offsets[rows][:, None] + np.arange(longest)]
    differs = (of_rows != of_rows[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else longest


@contextmanager
def attending(model: PreTrainedModel, layout: Layout) -> Iterator[None]:
    """For a while the model's attention follows a layout; see `Layout.arguments`."""
    config = model.config
    usual = config._attn_implementation  # noqa: SLF001 - the library's one way to choose it for a pass
    if isinstance(layout, Joined):
        config._attn_implementation = _NAME  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = usual  # noqa: SLF001


def can_join(model: PreTrainedModel, length: int) -> bool:
    """Whether samples of so many tokens may be read in one row.

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
    slots: _Slots,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention on joined rows, with the contract of the transformers library's functions.

    query, key and value are [K, heads, T, width of a head], the result is [K, T, heads, width]; the mask
    [1, 1, longest s, p + longest s] is that of what follows the beginning.
    """
    begun, n_rows = slots.begun, slots.n_rows

    def following(states: Tensor) -> Tensor:
        of_slots = states.transpose(1, 2).flatten(0, 1).index_select(0, slots.token_of_slot)
        return of_slots.unflatten(0, (len(states) * n_rows, -1)).transpose(1, 2)

    def whole(states: Tensor) -> Tensor:
        beginning = states[:, None, :, :begun].expand(-1, n_rows, -1, -1, -1).flatten(0, 1)
        return torch.cat([beginning, following(states)], dim=2)

    attend = _with_grouped_keys if query.device.type == "cpu" else sdpa_attention_forward
    rest, _ = attend(module, following(query), whole(key), whole(value), attention_mask, **settings)
    rest = rest.flatten(0, 1).index_select(0, slots.slot_of_token).unflatten(0, (len(query), -1))
    if not begun:
        return rest, None
    first, _ = attend(module, query[:, :, :begun], key[:, :, :begun], value[:, :, :begun], None, **settings)
    return torch.cat([first, rest], dim=1), None


def _with_grouped_keys(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    **_settings: Any,
) -> tuple[Tensor, None]:
    """The transformers library's attention without dropout, for a CPU.

    With a mask the library repeats each key for all queries of its group, which torch's kernel for CPUs does not need.
    """
    out = functional.scaled_dot_product_attention(
        query, key, value, attention_mask, is_causal=attention_mask is None, scale=scaling, enable_gqa=True
    )
    return out.transpose(1, 2), None


AttentionInterface.register(_NAME, _attend)
