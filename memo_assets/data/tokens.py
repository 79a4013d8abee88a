"""From samples to tokens: the context that a model reads, and the tokens that it may answer.

What belongs here: tokenizing prompts with their answers and finding the answer's place. What does not: prompts
(`samples`), batches (`training`).

A prompt is never tokenized alone: a tokenizer may end it otherwise when an answer follows. Every prompt is
tokenized with each of its options, and cut where the option begins.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from memo_assets.data.errors import DataError

PAD = -1
CHUNK = 1024  # samples tokenized in one call: Python lists of tokens are 30 times the size of the arrays
_SHOWN_TOKENS = 12


@dataclass(frozen=True, eq=False)
class TokenizedSamples:
    """Tokens of N samples with up to C options each.

    ids: int32, contexts one after the other, without the answer.
    offsets: int64 [N + 1], context i is ids[offsets[i]:offsets[i + 1]].
    option_tokens: int64 [N, C], first token of every option, -1 beyond a sample's own options.
    given_index: int64 [N], position of the given label among the options.
    """

    ids: np.ndarray
    offsets: np.ndarray
    option_tokens: np.ndarray
    given_index: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N], tokens of every context."""
        return np.diff(self.offsets)


def tokenize(samples: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> TokenizedSamples:
    """Tokenize every sample's prompt with its options.

    The answer token is the first token that holds a character of the option itself; if a tokenizer keeps the space
    before it apart, that space belongs to the context.

    Args:
        samples: columns sample_id, prompt, options, given_index.
        tokenizer: a fast one, since only those tell which characters a token comes from.

    Returns:
        Contexts and answer tokens in the order of the samples.

    Raises:
        DataError: a sample whose context depends on the option, whose options share their first token, or that is
            longer than the model reads.
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
        _tokenize_chunk(samples.iloc[start : start + CHUNK], tokenizer, width)
        for start in range(0, len(samples), CHUNK)
    ]
    lengths = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
    return TokenizedSamples(
        ids=np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        option_tokens=np.concatenate([part[2] for part in parts]) if parts else np.zeros((0, 0), np.int64),
        given_index=samples["given_index"].to_numpy(dtype=np.int64),
    )


def _tokenize_chunk(
    samples: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context ids (flat int32), context lengths [n], option tokens [n, width] of some samples."""
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

    option_tokens = np.full((len(prompts), width), PAD, dtype=np.int64)
    rank = np.arange(len(texts)) - firsts[owner]
    option_tokens[owner, rank] = ids[np.arange(len(texts)), answers]
    in_order = np.sort(option_tokens, axis=1)
    shared = ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != PAD)).any(axis=1)
    if shared.any():
        row = int(shared.argmax())
        pieces = [tokenizer.tokenize(f" {option}") for option in options[row]]
        raise DataError(
            f"sample {samples['sample_id'].iloc[row]}: options share their first token, so one token cannot tell them "
            f"apart: {dict(zip(options[row], pieces, strict=True))}; rename options, for instance to A, B, C"
        )

    lengths = answers[firsts]
    too_long = lengths >= tokenizer.model_max_length
    if too_long.any():
        row = int(too_long.argmax())
        raise DataError(
            f"sample {samples['sample_id'].iloc[row]}: {lengths[row]} tokens and the answer are more than the "
            f"{tokenizer.model_max_length} that the model reads; shorten its text or the prompt, or remove it"
        )
    kept = contexts[firsts]
    return kept[kept != PAD].astype(np.int32), lengths, option_tokens


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
