"""The language task: K adapters of one frozen causal language model, trained on the answer token.

What belongs here: batches of tokens, the pass through the model, losses and option logits. What does not: the
adapters (`models`), how text becomes tokens (`data`), the loop (`loop`).

Samples are padded on the right without an attention mask: a causal model never looks ahead, so what follows the last
context token cannot change it. What need not see other positions runs on that one position of every sample only.
What all samples of a prediction begin with is read once per model and its keys and values serve all of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from memo_assets.config import Lora
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.models.packed_lora import pack_lora
from memo_assets.models.peft_format import load_adapter, save_adapter
from memo_assets.training.state import content_hash
from memo_assets.training.task import Prediction

# Architectures checked for two ways to save work: their last block may run on the answer's position alone after its
# attention (see `_position_wise`), and a common beginning may be read once (see `_common_beginning`).
CHECKED = ("llama", "mistral", "gemma", "qwen2", "qwen3")


class LanguageTask:
    """K adapters over one tokenized data set; see `Task` for the contract.

    The model gets its adapters in place: it serves one task. Hidden states are those of the transformers library's
    `output_hidden_states`: layer l is the output of block l, except that the last one has passed the final norm.
    Adapter weights are float32 whatever the precision of the base; losses and logits are computed in float32.

    Args:
        model: frozen causal language model, on the device to use.
        samples: contexts and answer tokens of all N samples.
        lora: the adapters' settings.
        seeds: split seeds of the pack.
        base_name: hub id or directory of the base, kept with exported adapters; by default where it was loaded from.

    Raises:
        ValueError: unknown target modules; a sample without context, or whose given label is no option of its own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        samples: TokenizedSamples,
        lora: Lora,
        *,
        seeds: Sequence[int],
        base_name: str | None = None,
    ) -> None:
        n = len(samples.given_index)
        self.lengths = samples.lengths
        answers = samples.option_tokens[np.arange(n), samples.given_index]
        for problem, bad in (
            ("no context token", self.lengths < 1),
            ("a given label that is no option", answers < 0),
        ):
            if bad.any():
                raise ValueError(
                    f"{int(bad.sum())} samples have {problem}, first at position {int(bad.argmax())}"
                )
        self._pack = pack_lora(model, lora, seeds)
        self.seeds = self._pack.seeds
        self._model = model.eval()
        self._device = next(model.parameters()).device
        self._position_wise = _position_wise(model)
        self._base_name = str(model.name_or_path) if base_name is None else base_name
        self._ids = samples.ids
        self._offsets = samples.offsets
        self._options = torch.from_numpy(samples.option_tokens).to(self._device)
        self._answers = torch.from_numpy(answers).to(self._device)
        self.settings = {
            "lora": lora.model_dump(mode="json"),
            "samples": content_hash(samples.ids, samples.offsets, samples.option_tokens, samples.given_index),
        }

    def parameters(self) -> dict[str, nn.Parameter]:
        """Stacked adapter weights [K, ...] by name."""
        return self._pack.parameters()

    def losses(self, rows: np.ndarray, step: int) -> Tensor:
        """Cross-entropy of the answer token over the full vocabulary, [K, b], with dropout; see `Task`."""
        own_lengths = self.lengths[rows].max(axis=1).tolist()
        self._pack.dropout.start(step, rows.shape[1], own_lengths, device=self._device)
        try:
            logits, _ = self._answer_logits(rows, hidden=False)
        finally:
            self._pack.dropout.stop()
        answers = self._answers[torch.from_numpy(rows)]
        return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view(
            rows.shape
        )

    def predict(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Option logits, answer loss and hidden states of all adapters on the same rows [b]; see `Task`."""
        n_models = len(self.seeds)
        with torch.no_grad():
            tiled = np.tile(rows, (n_models, 1))
            logits, states = self._answer_logits(tiled, hidden=hidden, begun=self._common_beginning(rows))
            index = torch.from_numpy(rows).to(self._device)
            answers = self._answers[index].expand(n_models, -1)
            loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
            options = self._options[index].expand(n_models, -1, -1)
            option_logits = logits.gather(2, options.clamp(min=0)).masked_fill(options < 0, -torch.inf)
        return Prediction(option_logits, loss.view(n_models, len(rows)), states)

    def export(self, k: int, directory: Path) -> None:
        """Write adapter k as PEFT does."""
        save_adapter(self._pack, k, directory, base_name=self._base_name)

    def load(self, k: int, directory: Path) -> None:
        """Read an adapter in PEFT's format into slot k."""
        load_adapter(self._pack, k, directory)

    def _answer_logits(
        self, rows: np.ndarray, *, hidden: bool, begun: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Float32 logits [K, b, V] at the last context token of rows [K, b], and hidden states [L, K, b, d].

        The first `begun` tokens, the same in all rows, are read once per model.
        """
        lengths = self.lengths[rows.ravel()]
        ids = self._padded(rows.ravel(), lengths)
        last = torch.from_numpy(lengths - 1 - begun).to(self._device)
        cache = None
        if begun:
            beginning = ids[:1, :begun].expand(len(rows), -1)
            cache = self._model.get_decoder()(input_ids=beginning, use_cache=True).past_key_values
            cache.batch_repeat_interleave(rows.shape[1])
        with _one_position(self._position_wise, last):
            output = self._model(
                input_ids=ids[:, begun:],
                past_key_values=cache,
                use_cache=cache is not None,
                output_hidden_states=hidden,
            )
        logits = output.logits.float().view(*rows.shape, -1)
        if not hidden:
            return logits, None
        states = torch.stack([_at(layer, last).float() for layer in output.hidden_states[1:]])
        return logits, states.view(len(states), *rows.shape, -1)

    def _common_beginning(self, rows: np.ndarray) -> int:
        """How many tokens all these samples begin with, the last context token of each left out; 0 for one sample."""
        if len(rows) < 2 or self._model.config.model_type not in CHECKED:
            return 0
        longest = int(self.lengths[rows].min()) - 1
        ids = self._ids[self._offsets[rows][:, None] + np.arange(longest)]
        differs = (ids != ids[0]).any(axis=0)
        return int(differs.argmax()) if differs.any() else longest

    def _padded(self, rows: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Token ids [len(rows), longest], zeros after each context."""
        columns = np.arange(lengths.max())
        inside = columns < lengths[:, None]
        positions = np.where(inside, self._offsets[rows][:, None] + columns, 0)
        ids = np.where(inside, self._ids[positions], 0).astype(np.int64)
        return torch.from_numpy(ids).to(self._device)


def _position_wise(model: PreTrainedModel) -> list[nn.Module]:
    """Modules after the model's last look at other positions, whose input may be cut to the answer's position.

    For any architecture the output module. For those checked here also the last block from the attention's output
    on: there the residual stream keeps all positions and the cut one is broadcast onto it, which is right at the
    answer's position and read nowhere else. With two blocks this halves the work, with 32 it saves 3 %.
    """
    output_module = model.get_output_embeddings()
    if output_module is None:
        raise ValueError(
            f"{type(model).__name__} has no output embeddings: a causal language model is expected"
        )
    if model.config.model_type not in CHECKED:
        return [output_module]
    decoder = model.get_decoder()
    last = f"layers.{model.config.num_hidden_layers - 1}"
    names = [f"{last}.self_attn.o_proj", f"{last}.post_attention_layernorm", "norm"]
    return [*(decoder.get_submodule(name) for name in names), output_module]


@contextmanager
def _one_position(modules: list[nn.Module], last: Tensor) -> Iterator[None]:
    """Cut the input [B, T, d] of modules to [B, 1, d], the position `last` [B] of each sample.

    Hooks rather than calls of inner modules, because what surrounds them (scaling, soft caps) differs between
    architectures.
    """

    def cut(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (_at(args[0], last).unsqueeze(1),)

    handles = [module.register_forward_pre_hook(cut) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _at(states: Tensor, last: Tensor) -> Tensor:
    """States [B, d] at position `last` of [B, T, d], or of [B, 1, d] that is cut already."""
    if states.shape[1] == 1:
        return states[:, 0]
    return states[torch.arange(len(last), device=last.device), last]
