"""The language task: K adapters of one frozen causal language model, trained on the answer or the whole text.

What belongs here: batches of tokens, the pass through the model, losses and option logits. What does not: the
adapters (`models`), how text becomes tokens (`data`), the loop (`loop`).

Samples are read without padding, and what all of a batch begin with once per model (`reading`); with dropout, with the
loss of the whole text, and where a model does not allow it they are padded on the right, which needs no mask in a causal
model. What need not see other positions runs on those that predict the answer only.

An answer of several tokens is given to the model up to its last token but one, and its log-probability is the sum over
its tokens. Predicting so takes one pass over the samples for every option that has more than one token.
"""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from memo_assets.config import Elr, Lora
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.models.packed_block import pack_blocks
from memo_assets.models.packed_lora import pack_lora
from memo_assets.models.peft_format import load_adapter, save_adapter
from memo_assets.training.early_learning import EarlyLearning
from memo_assets.training.positions import CHECKED, at, only, output_module
from memo_assets.training.reading import Joined, Layout, Padded, attending, can_join, common_beginning
from memo_assets.training.state import content_hash
from memo_assets.training.task import Prediction

_NONE = -1  # stands where there is no token


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
        loss: what is trained: the answer, or the mean over every token of context and answer but the first.
        base_name: hub id or directory of the base, kept with exported adapters; by default where it was loaded from.
        elr: early-learning regularization over the options, which must be judged by one token; by default none.

    Raises:
        ValueError: unknown target modules; a sample without context, or whose given label is no option of its own; elr with
            the loss of the whole text or options judged by several tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        samples: TokenizedSamples,
        lora: Lora,
        *,
        seeds: Sequence[int],
        loss: Literal["answer", "text"] = "answer",
        base_name: str | None = None,
        elr: Elr | None = None,
    ) -> None:
        n = len(samples.given_index)
        self.lengths = samples.lengths
        self.n_cut = int(samples.cut.sum())
        self._answers = samples.option_tokens[np.arange(n), samples.given_index]
        for problem, bad in (
            ("no context token", self.lengths < 1),
            ("a given label that is no option", self._answers[:, 0] < 0),
        ):
            if bad.any():
                raise ValueError(
                    f"{int(bad.sum())} samples have {problem}, first at position {int(bad.argmax())}"
                )
        self._pack = pack_lora(model, lora, seeds)
        pack_blocks(model, self._pack)
        self.seeds = self._pack.seeds
        self._model = model.eval()
        self._device = next(model.parameters()).device
        output_module(model)  # asked here, so that a model without one is told before anything runs
        self._base_name = str(model.name_or_path) if base_name is None else base_name
        self._ids = samples.ids
        self._offsets = samples.offsets
        self._options = samples.option_tokens
        self._given = samples.given_index
        self._by_token = samples.scoring == "token"
        self._loss = loss
        self._is_base = False
        self.settings: dict[str, object] = {
            "lora": lora.model_dump(mode="json"),
            "samples": content_hash(samples.ids, samples.offsets, samples.option_tokens, samples.given_index),
        }
        self._early: EarlyLearning | None = None
        self._penalty: Tensor | None = None
        if elr is not None:
            if loss == "text" or not self._by_token:
                raise ValueError(
                    "elr given, expected loss answer and options judged by one token; choose those"
                )
            self.settings["elr"] = elr.settings()
            self._early = EarlyLearning(
                elr,
                n_models=len(self.seeds),
                n_samples=n,
                n_options=self._options.shape[1],
                device=self._device,
            )

    def untrained(self) -> "LanguageTask":
        """The base model as one model, to predict with: what every adapter is before its first step."""
        alone = copy.copy(self)
        alone.seeds, alone._is_base = self.seeds[:1], True  # noqa: SLF001 - of its own class
        return alone

    def parameters(self) -> dict[str, nn.Parameter]:
        """Stacked adapter weights [K, ...] by name."""
        return self._pack.parameters()

    def buffers(self) -> dict[str, Tensor]:
        """Early-learning targets [K, N, C], if there are any: adapters are parameters alone."""
        return {} if self._early is None else {"early_learning.targets": self._early.targets}

    def losses(self, rows: np.ndarray, step: int) -> Tensor:
        """Cross-entropy over the full vocabulary, [K, b], with dropout; see `Task`.

        Summed over the tokens of the given answer, or the mean over all tokens of the text that have one before them.
        """
        answers = _trimmed(self._answers[rows])
        n_tokens = (answers != _NONE).sum(axis=2)
        self._pack.dropout.start(
            step,
            rows.shape[1],
            (self.lengths[rows] + n_tokens - 1).max(axis=1).tolist(),
            device=self._device,
            answers=n_tokens.max(axis=1).tolist(),
        )
        try:
            if self._loss == "text":
                logits, targets = self._text_logits(rows, answers)
            else:
                logits, _ = self._answer_logits(rows, answers, hidden=False)
                targets = self._on_device(answers)
                if self._early is not None:
                    self._penalty = self._early.penalty(
                        self._of_options(logits[:, :, 0], rows), self._on_device(rows)
                    )
        finally:
            self._pack.dropout.stop()
        of_tokens = functional.cross_entropy(
            logits.flatten(0, -2), targets.flatten(), ignore_index=_NONE, reduction="none"
        ).view(targets.shape)
        summed = of_tokens.sum(dim=2)
        return summed / (targets != _NONE).sum(dim=2) if self._loss == "text" else summed

    def penalty(self) -> Tensor | None:
        """Early-learning regularization [K, b] of the samples of the last call of `losses`; see `Task`."""
        return self._penalty

    def predict(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Option logits, answer loss and hidden states of all adapters on the same rows [b]; see `Task`."""
        with torch.no_grad(), self._pack.off() if self._is_base else nullcontext():
            if self._by_token:
                return self._predict_by_token(rows, hidden=hidden)
            option_logits, states = self._log_probabilities(rows, hidden=hidden)
            given = self._on_device(self._given[rows]).expand(len(self.seeds), -1).unsqueeze(2)
            return Prediction(option_logits, -option_logits.gather(2, given).squeeze(2), states)

    def _predict_by_token(self, rows: np.ndarray, *, hidden: bool) -> Prediction:
        """Options judged by the logits of their first tokens."""
        n_models = len(self.seeds)
        logits, states = self._same_rows(rows, self._answers[rows], hidden=hidden)
        logits = logits[:, :, 0]
        answers = self._on_device(self._answers[rows, 0]).expand(n_models, -1)
        loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
        option_logits = self._of_options(logits, np.tile(rows, (n_models, 1)))
        return Prediction(option_logits, loss.view(n_models, len(rows)), states)

    def _of_options(self, logits: Tensor, rows: np.ndarray) -> Tensor:
        """Logits [K, b, C] of the first tokens of the options of rows [K, b], from those of all tokens [K, b, V]."""
        options = self._on_device(self._options[rows, :, 0])
        return logits.gather(2, options.clamp(min=0)).masked_fill(options == _NONE, -torch.inf)

    def _log_probabilities(self, rows: np.ndarray, *, hidden: bool) -> tuple[Tensor, Sequence[Tensor] | None]:
        """Log-probability of every option [K, b, C], -inf beyond a sample's own, and hidden states, L times [K, b, d]."""
        options = self._options[rows]
        # Any pass tells the first tokens of all options, since no option is read before them.
        logits, states = self._same_rows(rows, options[:, 0], hidden=hidden)
        firsts = self._on_device(options[:, :, 0]).expand(len(self.seeds), -1, -1)
        scores = logits[:, :, 0].log_softmax(dim=2).gather(2, firsts.clamp(min=0))
        scores.masked_fill_(firsts == _NONE, -torch.inf)
        for option in range(options.shape[1]):
            longer = np.flatnonzero((options[:, option] != _NONE).sum(axis=1) > 1)
            if not len(longer):
                continue
            tokens = _trimmed(options[longer, option])
            if option:
                logits, _ = self._same_rows(rows[longer], tokens, hidden=False)
            else:
                logits = logits[:, self._on_device(longer)]
            further = self._on_device(tokens[:, 1:]).expand(len(self.seeds), -1, -1)
            own = logits[:, :, 1:].log_softmax(dim=3).gather(3, further.clamp(min=0).unsqueeze(3)).squeeze(3)
            scores[:, self._on_device(longer), option] += own.masked_fill(further == _NONE, 0).sum(dim=2)
        return scores, states

    def export(self, k: int, directory: Path) -> None:
        """Write adapter k as PEFT does."""
        save_adapter(self._pack, k, directory, base_name=self._base_name)

    def load(self, k: int, directory: Path) -> None:
        """Read an adapter in PEFT's format into slot k."""
        load_adapter(self._pack, k, directory)

    def _same_rows(
        self, rows: np.ndarray, answers: np.ndarray, *, hidden: bool
    ) -> tuple[Tensor, Sequence[Tensor] | None]:
        """As `_answer_logits`, for the same rows [b] and answers [b, M] in all models."""
        tiled, answers = (
            np.tile(rows, (len(self.seeds), 1)),
            np.tile(_trimmed(answers), (len(self.seeds), 1, 1)),
        )
        return self._answer_logits(tiled, answers, hidden=hidden)

    def _answer_logits(
        self, rows: np.ndarray, answers: np.ndarray, *, hidden: bool
    ) -> tuple[Tensor, Sequence[Tensor] | None]:
        """Float32 logits [K, b, M, V] that predict the answers [K, b, M] of rows [K, b], and hidden states, L times [K, b, d].

        Hidden states are those that predict the first token of the answer. Where an answer has fewer than M tokens the
        logits mean nothing.
        """
        ids, _ = self._texts(rows, answers)
        layout = self._layout(rows, answers)
        last = self.lengths[rows.ravel()] - 1
        where = self._on_device(layout.where(last[:, None] + np.arange(answers.shape[2])))
        cut = answers.shape[2] == 1 and self._model.config.model_type in CHECKED
        with attending(self._model, layout), only(self._model, where, last_block=cut):
            output = self._model(
                input_ids=self._on_device(layout.tokens(ids)),
                use_cache=False,
                output_hidden_states=hidden,
                **layout.arguments(self._device),
            )
        logits = output.logits.float().view(*answers.shape, -1)
        if not hidden:
            return logits, None
        *inner, final = output.hidden_states[1:]
        states = [at(layer, where[:, 0]) for layer in inner]
        states.append(final[:, 0] if cut else at(final, where[:, 0]))
        return logits, [layer.float().view(*rows.shape, -1) for layer in states]

    def _text_logits(self, rows: np.ndarray, answers: np.ndarray) -> tuple[Tensor, Tensor]:
        """Float32 logits [K, b, T, V] at every position of rows [K, b], and the tokens there [K, b, T] to predict."""
        ids, targets = self._texts(rows, answers)
        logits = self._model(input_ids=self._on_device(ids), use_cache=False).logits.float()
        return logits.view(*rows.shape, *logits.shape[1:]), self._on_device(targets).view(*rows.shape, -1)

    def _layout(self, rows: np.ndarray, answers: np.ndarray) -> Layout:
        """How rows [K, b] with their answers [K, b, M] are read."""
        lengths = self.lengths[rows] + (answers != _NONE).sum(axis=2) - 1
        # Dropout draws for each padded sample; of a sample alone nothing is saved.
        if rows.shape[1] < 2 or self._pack.dropout.active or not can_join(self._model, int(lengths.max())):
            return Padded(lengths)
        begun = common_beginning(self._ids, self._offsets, rows.ravel())
        return Joined(lengths, begun) if begun or lengths.min() < lengths.max() else Padded(lengths)

    def _texts(self, rows: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What rows [K, b] with their answers [K, b, M] give the model to read, and what comes next, both [K * b, T].

        The last token of an answer is not read. Beyond a text are zeros to read and `_NONE` to come.
        """
        rows, answers = rows.ravel(), answers.reshape(rows.size, -1)
        ends = self.lengths[rows][:, None]
        columns = np.arange(int((ends[:, 0] + (answers != _NONE).sum(axis=1)).max()))
        context = self._ids[np.where(columns < ends, self._offsets[rows][:, None] + columns, 0)]
        behind = (columns - ends).clip(0, answers.shape[1] - 1)
        answer = np.where(
            columns < ends + answers.shape[1], np.take_along_axis(answers, behind, axis=1), _NONE
        )
        texts = np.where(columns < ends, context, answer).astype(np.int64)
        targets = texts[:, 1:]
        return np.where(targets == _NONE, 0, texts[:, :-1]), targets

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def _trimmed(answers: np.ndarray) -> np.ndarray:
    """Answers [..., M] without the places that none of them uses."""
    used = (answers != _NONE).any(axis=tuple(range(answers.ndim - 1)))
    return answers[..., : max(1, int(used.sum()))]
