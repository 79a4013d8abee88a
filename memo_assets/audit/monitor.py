# ruff: noqa: ARG002 - the signatures are those of transformers
"""Scoring samples inside a user's own training loop, with `transformers.Trainer`.

What belongs here: the callback. What does not: the audit that trains by itself (`engine`).
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from memo_assets.compute.scores import psmi_where_shared
from memo_assets.measures.lira import logit_gap

IGNORED = -100  # as transformers marks positions that are not trained on
MAX_CLASSES = 1000
_FIFTHS = 5

log = logging.getLogger(__name__)


class MemorizationMonitor(TrainerCallback):
    """Scores the training samples of a `Trainer` at the prediction epoch, and stops the training there or goes on.

    For causal language models trained on an answer: `labels` are -100 but on the answer, whose first token is the sample's class.
    The prediction epoch is the first look at which the median loss of some samples has fallen by `drop` from its value before
    training; looks take a forward pass over these samples. Then one pass over all samples gives their hidden states in the
    last layer, and PSMI, loss and logit gap. Weights, gradients and random numbers of the training are left alone.

    One process trains: under several, each would look at all samples. Run on CPU in float32; on GPUs and in bf16 unrun.

    Args:
        dataset: the training samples: an indexable of mappings with input_ids and labels (lists or tensors).
        action: stop ends the training at the prediction epoch, report goes on.
        drop: share by which the median loss must fall.
        every: optimizer steps between looks; by default a fifth of an epoch.
        looked_at: samples whose median loss is looked at, drawn once; all if there are fewer.
        batch_size: samples of one forward pass.
        n_directions: of PSMI.
        seed: of the draw of samples and of directions.

    Attributes:
        scores: None before the prediction epoch; then one row a sample, most at risk first: rank, sample (position in the data
            set), label (first token of the answer), flagged (PSMI below 0), psmi, loss, logit_gap.
        epoch, step: of the prediction; None before.
        medians: (step, median loss) of each look.
    """

    def __init__(
        self,
        dataset: Sequence[Any] | Any,
        *,
        action: Literal["stop", "report"] = "stop",
        drop: float = 0.95,
        every: int | None = None,
        looked_at: int = 500,
        batch_size: int = 16,
        n_directions: int = 2000,
        seed: int = 0,
    ) -> None:
        if action not in ("stop", "report"):
            raise ValueError(f"action: given {action!r}; expected stop or report")
        if not 0 < drop < 1:
            raise ValueError(f"drop: given {drop}; expected a share between 0 and 1")
        if (every is not None and every < 1) or batch_size < 1 or looked_at < 1:
            raise ValueError("every, batch_size and looked_at must be at least 1")
        self._ids, self._labels, self._places = _answers(dataset)
        firsts = [int(labels[place]) for labels, place in zip(self._labels, self._places, strict=True)]
        self._classes, self._class_of = np.unique(firsts, return_inverse=True)
        if not 2 <= len(self._classes) <= MAX_CLASSES:
            raise ValueError(
                f"the answers of the data set begin with {len(self._classes)} different tokens; expected 2 to {MAX_CLASSES}: labels "
                f"must be {IGNORED} on the prompt, and the answer must be one of some classes"
            )
        n = len(self._ids)
        rng = np.random.default_rng(seed)
        self._looked_at = np.sort(rng.choice(n, min(looked_at, n), replace=False))
        self._action, self._drop, self._every = action, drop, every
        self._batch_size, self._n_directions, self._seed = batch_size, n_directions, seed
        self.scores: pd.DataFrame | None = None
        self.epoch: float | None = None
        self.step: int | None = None
        self.medians: list[tuple[int, float]] = []

    @property
    def flagged(self) -> np.ndarray:
        """Positions of the samples at risk, most at risk first; none before the prediction epoch."""
        if self.scores is None:
            return np.empty(0, dtype=np.int64)
        return self.scores.loc[self.scores["flagged"], "sample"].to_numpy()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look before the first step, unless the training goes on from a checkpoint of its own."""
        if self._every is None:
            epochs = max(args.num_train_epochs, 1) if state.max_steps else 1
            self._every = max(1, round(state.max_steps / epochs / _FIFTHS))
        if not self.medians:
            if state.global_step:
                log.warning(
                    "training goes on from step %d: the median loss is compared with that of this step, not of the base model",
                    state.global_step,
                )
            self._look(kwargs["model"], state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look every so many steps until the loss is low; then score all samples."""
        if self.scores is None and state.global_step % (self._every or 1) == 0:
            median = self._look(kwargs["model"], state.global_step)
            if median < (1 - self._drop) * self.medians[0][1]:
                self.epoch, self.step = state.epoch, state.global_step
                self.scores = self._score(kwargs["model"])
                log.info(
                    "step %d, epoch %.3g: the median loss fell from %.4g to %.4g; %d of %d samples are at risk",
                    state.global_step, state.epoch or 0.0, self.medians[0][1], median, len(self.flagged), len(self.scores),
                )  # fmt: skip
                control.should_training_stop |= self._action == "stop"

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Say it if the loss never became low."""
        if self.scores is None:
            first, last = self.medians[0][1], self.medians[-1][1]
            log.warning(
                "the median loss fell from %.4g to %.4g only, not by %.0f %%: no sample was scored. Train longer, or give a smaller "
                "drop", first, last, 100 * self._drop,
            )  # fmt: skip

    def _look(self, model: torch.nn.Module, step: int) -> float:
        """Median loss of the samples looked at."""
        losses, _, _ = self._forward(model, self._looked_at, hidden=False)
        median = float(np.median(losses))
        self.medians.append((step, median))
        return median

    def _score(self, model: torch.nn.Module) -> pd.DataFrame:
        rows = np.arange(len(self._ids))
        losses, hidden, logits = self._forward(model, rows, hidden=True)
        values = psmi_where_shared(
            hidden, self._class_of, n_directions=self._n_directions, seed=self._seed
        ).mean
        table = pd.DataFrame(
            {
                "sample": rows,
                "label": self._classes[self._class_of],
                "flagged": values < 0,
                "psmi": values,
                "loss": losses,
                "logit_gap": logit_gap(logits, self._class_of),
            }
        ).sort_values("psmi", kind="stable", na_position="last", ignore_index=True)
        table.insert(0, "rank", np.arange(1, len(table) + 1))
        return table

    def _forward(
        self, model: torch.nn.Module, rows: np.ndarray, *, hidden: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean loss of the answer [n], last hidden state before it [n, d], logits of all classes [n, C]; the last two on wish."""
        was_training = model.training
        model.eval()
        # Longest first, so that what does not fit into memory fails at once.
        order = np.argsort([-len(self._ids[row]) for row in rows], kind="stable")
        parts = []
        try:
            with torch.no_grad():
                for start in range(0, len(rows), self._batch_size):
                    some = rows[order[start : start + self._batch_size]]
                    parts.append(self._forward_batch(model, some, hidden=hidden))
        finally:
            model.train(was_training)
        back = np.argsort(order)
        losses, states, logits = (np.concatenate(arrays)[back] for arrays in zip(*parts, strict=True))
        return losses, states, logits

    def _forward_batch(
        self, model: torch.nn.Module, rows: np.ndarray, *, hidden: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        device = next(model.parameters()).device
        longest = max(len(self._ids[row]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
        for place, row in enumerate(rows):
            length = len(self._ids[row])
            ids[place, :length] = torch.from_numpy(self._ids[row])
            labels[place, :length] = torch.from_numpy(self._labels[row])
            mask[place, :length] = 1
        output = model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            output_hidden_states=hidden,
            use_cache=False,
        )
        predicted, wanted = output.logits[:, :-1].float(), labels[:, 1:].to(device)
        of_tokens = cross_entropy(
            predicted.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
        ).view(wanted.shape)
        losses = (of_tokens.sum(dim=1) / (wanted != IGNORED).sum(dim=1)).double().cpu().numpy()
        if not hidden:
            nothing = np.empty((len(rows), 0), dtype=np.float32)
            return losses, nothing, nothing
        at = torch.as_tensor([self._places[row] - 1 for row in rows], device=device)
        batch, classes = torch.arange(len(rows), device=device), torch.as_tensor(self._classes, device=device)
        states = output.hidden_states[-1][batch, at].float().cpu().numpy()
        return losses, states, predicted[batch, at][:, classes].cpu().numpy()


def _answers(dataset: Any) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Token ids and labels of every sample, and where its answer begins.

    Raises:
        ValueError: a sample without ids or labels, of another length, or without an answer after its first token.
    """
    ids, labels, places = [], [], []
    for row in range(len(dataset)):
        sample = dataset[row]
        if "input_ids" not in sample or "labels" not in sample:
            raise ValueError(f"sample {row} has {sorted(sample)}; expected input_ids and labels")
        one, own = (np.asarray(sample[name], dtype=np.int64) for name in ("input_ids", "labels"))
        if one.ndim != 1 or one.shape != own.shape:
            raise ValueError(
                f"sample {row}: input_ids {one.shape} and labels {own.shape}; expected one label a token"
            )
        answered = np.flatnonzero(own != IGNORED)
        if not len(answered) or answered[0] == 0:
            raise ValueError(
                f"sample {row}: labels begin {'nowhere' if not len(answered) else 'at the first token'}; expected {IGNORED} on the "
                "prompt and the answer's tokens after it"
            )
        ids.append(one)
        labels.append(own)
        places.append(int(answered[0]))
    return ids, labels, places
