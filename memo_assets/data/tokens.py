"""From samples to tokens: the context that a model reads, and the tokens that it may answer.

What belongs here: tokenizing prompts with their answers and finding the answer's place. What does not: prompts
(`samples`), batches (`training`).

A prompt is never tokenized alone: a tokenizer may end it otherwise when an answer follows. Every prompt is
tokenized with each of its options, and split where the option begins.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from memo_assets.data.errors import DataError

Scoring = Literal["token", "sequence"]

PAD = -1
CHUNK = 1024  # samples tokenized in one call: Python lists of tokens are 30 times the size of the arrays
_SHOWN_TOKENS = 12


@dataclass(frozen=True, eq=False)
class TokenizedSamples:
    """Tokens of N samples with up to C options of up to M tokens each.

    ids: int32, contexts one after the other, without the answer.
    offsets: int64 [N + 1], context i is ids[offsets[i]:offsets[i + 1]].
    option_tokens: int64 [N, C, M], tokens of every option, -1 beyond its own and beyond a sample's own options.
    given_index: int64 [N], position of the given label among the options.
    whole_lengths: int64 [N], tokens of every context before its beginning was cut; None where none was.
    scoring: `token` if the first token of an option stands for it and M is 1, else `sequence`.
    """

    ids: np.ndarray
    offsets: np.ndarray
    option_tokens: np.ndarray
    given_index: np.ndarray
    whole_lengths: np.ndarray | None = None
    scoring: Scoring = "token"

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N], tokens of every context."""
        return np.diff(self.offsets)

    @property
    def cut(self) -> np.ndarray:
        """Bool [N], whether a context lost its beginning."""
        lengths = self.lengths
        return (
            np.zeros(len(lengths), dtype=bool) if self.whole_lengths is None else lengths < self.whole_lengths
        )


def tokenize(
    samples: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    scoring: Scoring = "token",
    max_length: int | None = None,
) -> TokenizedSamples:
    """Tokenize every sample's prompt with its options.

    An answer begins with the first token that holds a character of the option itself; if a tokenizer keeps the space
    before it apart, that space belongs to the context. A context that is too long loses tokens at its beginning, after
    the special tokens that the tokenizer puts there.

    Args:
        samples: columns sample_id, prompt, options, given_index.
        tokenizer: a fast one, since only those tell which characters a token comes from.
        scoring: keep the first token of every option, or all its tokens.
        max_length: most tokens of a context with the longest of its options as kept; None cuts nothing.

    Returns:
        Contexts and answer tokens in the order of the samples.

    Raises:
        DataError: a sample whose context depends on the option, whose options cannot be told apart, whose options
            leave no room for a context, or that is longer than the model reads.
        ValueError: the tokenizer is a slow one.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} does not tell which characters its tokens come from: use the model's fast "
            f"tokenizer (tokenizer.json)"
        )
    n_options = samples["options"].map(len).to_numpy(dtype=np.int64)
    width = int(n_options.max(initial=0))
    parts = [
        _tokenize_chunk(
            samples.iloc[start : start + CHUNK], tokenizer, width, scoring=scoring, max_length=max_length
        )
        for start in range(0, len(samples), CHUNK)
    ]
    longest = max(part.options.shape[2] for part in parts)
    options = [
        np.pad(p.options, [(0, 0), (0, 0), (0, longest - p.options.shape[2])], constant_values=PAD)
        for p in parts
    ]
    return TokenizedSamples(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))]).astype(
            np.int64
        ),
        option_tokens=np.concatenate(options),
        given_index=samples["given_index"].to_numpy(dtype=np.int64),
        whole_lengths=np.concatenate([part.whole_lengths for part in parts]),
        scoring=scoring,
    )


class _Chunk(NamedTuple):
    """Context ids (flat int32), context lengths [n] after and before the cut, option tokens [n, C, M] of some samples."""

    ids: np.ndarray
    lengths: np.ndarray
    whole_lengths: np.ndarray
    options: np.ndarray


def _tokenize_chunk(
    samples: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    width: int,
    *,
    scoring: Scoring,
    max_length: int | None,
) -> _Chunk:
    prompts = samples["prompt"].tolist()
    options = samples["options"].tolist()
    n_options = np.array([len(row) for row in options], dtype=np.int64)
    texts = [f"{prompt} {option}" for prompt, row in zip(prompts, options, strict=True) for option in row]
    encoded = tokenizer(texts, return_offsets_mapping=True, return_attention_mask=False)
    ids, ends = _padded(encoded["input_ids"], [[end for _, end in row] for row in encoded["offset_mapping"]])

    owner = np.repeat(np.arange(len(prompts)), n_options)
    option_starts = np.array([len(prompt) + 1 for prompt in prompts])[owner]
    # Special tokens have the characters 0 to 0 and padding ends at -1, so neither reaches beyond the option's start.
    beyond = ends > option_starts[:, None]
    if not beyond.any(axis=1).all():
        pair = int(np.argmin(beyond.any(axis=1)))
        raise DataError(
            f"sample {samples['sample_id'].iloc[owner[pair]]}: the tokenizer makes no token of the option in "
            f"{texts[pair][-80:]!r}; rename the option"
        )
    answers = beyond.argmax(axis=1)
    inside = np.arange(ids.shape[1]) < answers[:, None]
    contexts = np.where(inside, ids, PAD)

    firsts = np.concatenate([[0], np.cumsum(n_options)[:-1]])
    differs = (contexts != contexts[firsts[owner]]).any(axis=1)
    if differs.any():
        pair = int(differs.argmax())
        other = int(firsts[owner[pair]])
        raise DataError(
            f"sample {samples['sample_id'].iloc[owner[pair]]}: the tokens of the prompt depend on the answer: "
            f"{_shown(tokenizer, ids[other], answers[other])} but {_shown(tokenizer, ids[pair], answers[pair])}; let "
            f"prompt.templates end in a letter or mark that the tokenizer does not join with what follows"
        )

    n_tokens = beyond.sum(axis=1) if scoring == "sequence" else np.ones(len(texts), dtype=np.int64)
    places = answers[:, None] + np.arange(n_tokens.max(initial=1))
    own = places < (answers + n_tokens)[:, None]
    option_tokens = np.full((len(prompts), width, places.shape[1]), PAD, dtype=np.int64)
    rank = np.arange(len(texts)) - firsts[owner]
    option_tokens[owner, rank] = np.where(own, np.take_along_axis(ids, np.where(own, places, 0), axis=1), PAD)
    shared = _begins_another(option_tokens).any(axis=(1, 2))
    if shared.any():
        row = int(shared.argmax())
        pieces = dict(zip(options[row], [tokenizer.tokenize(f" {o}") for o in options[row]], strict=True))
        problem = (
            f"options share their first token, so one token cannot tell them apart: {pieces}; rename options, for "
            "instance to A, B, C, or set prompt.scoring: sequence"
            if scoring == "token"
            else f"an option is the beginning of another, which can then never be the more probable one: {pieces}; "
            "rename options, for instance to A, B, C"
        )
        raise DataError(f"sample {samples['sample_id'].iloc[row]}: {problem}")

    whole_lengths = answers[firsts]
    longest = (option_tokens != PAD).sum(axis=2).max(axis=1, initial=0)
    kept = contexts[firsts]
    lengths = whole_lengths
    if max_length is not None:
        n_special = (ends[firsts] > 0).argmax(axis=1)  # special tokens have the characters 0 to 0
        room = max_length - longest
        if (room <= n_special).any():
            row = int((room <= n_special).argmax())
            raise DataError(
                f"sample {samples['sample_id'].iloc[row]}: its longest option has {longest[row]} tokens, which leaves "
                f"no room for the prompt in training.max_length = {max_length}; raise it or shorten the option"
            )
        columns = np.arange(kept.shape[1])
        first_kept = whole_lengths - room + n_special
        kept[(columns >= n_special[:, None]) & (columns < first_kept[:, None])] = PAD
        lengths = np.minimum(whole_lengths, room)
    too_long = lengths + longest > tokenizer.model_max_length
    if too_long.any():
        row = int(too_long.argmax())
        raise DataError(
            f"sample {samples['sample_id'].iloc[row]}: {lengths[row]} tokens and the answer are more than the "
            f"{tokenizer.model_max_length} that the model reads; shorten its text or the prompt, remove it, or set "
            "training.max_length"
        )
    return _Chunk(kept[kept != PAD].astype(np.int32), lengths, whole_lengths, option_tokens)


def _begins_another(option_tokens: np.ndarray) -> np.ndarray:
    """Bool [n, C, C], whether the tokens of an option are those that another option of its sample begins with."""
    one, other = option_tokens[:, :, None], option_tokens[:, None]
    there = option_tokens[:, :, 0] != PAD
    begins = ((one == other) | (one == PAD)).all(axis=3) & there[:, :, None] & there[:, None]
    return begins & ~np.eye(option_tokens.shape[1], dtype=bool)


def _padded(ids: list[list[int]], ends: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ragged token ids and character ends as two arrays [pairs, longest], -1 beyond a row's end."""
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded_ids, padded_ends = np.full(inside.shape, PAD), np.full(inside.shape, PAD)
    padded_ids[inside] = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=lengths.sum())
    padded_ends[inside] = np.fromiter(chain.from_iterable(ends), dtype=np.int64, count=lengths.sum())
    return padded_ids, padded_ends


def _shown(tokenizer: PreTrainedTokenizerBase, ids: np.ndarray, answer: int) -> str:
    """The tokens around the place of the answer, which is marked by a bar."""
    tokens = tokenizer.convert_ids_to_tokens(ids[ids != PAD].tolist())
    start = max(0, answer - _SHOWN_TOKENS)
    context, rest = tokens[start:answer], tokens[answer : answer + _SHOWN_TOKENS]
    return f"{'... ' if start else ''}{' '.join([*context, '|', *rest])}"
