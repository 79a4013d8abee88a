"""From a user's rows to what the model is trained on: how labels become answers, and prompts.

What belongs here: the choice between labels and letters, the usual templates, the samples of an audit. What does not: tokens
(`data.tokens`), planted samples (`canaries`).
"""

import re
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Literal

import pandas as pd

from memo_assets.config import Prompt
from memo_assets.data.errors import DataError
from memo_assets.data.items import check_items
from memo_assets.data.samples import render_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LABELS, _LETTERS = "{text}\nLabel:", "{text}\n{options}\nAnswer:"


@dataclass(frozen=True)
class Answers:
    """How the labels of a data set are asked for.

    Attributes:
        kind: `labels` if every label begins with a token of its own and stands for itself; else `letters`.
        labels: the labels, sorted.
        options: what the model answers with, one for each label.
        template: the prompt.
    """

    kind: Literal["labels", "letters"]
    labels: tuple[str, ...]
    options: tuple[str, ...]
    template: str

    @property
    def sentence(self) -> str:
        """For the report."""
        if self.kind == "labels":
            return "each label is an answer by itself, told by its first token"
        pairs = ", ".join(f"{o} = {label}" for o, label in zip(self.options, self.labels, strict=True))
        return (
            f"labels begin with the same token or have none of their own, so letters stand for them: {pairs}"
        )


def checked_items(texts: list, labels: list, ids: list[str], *, where: str) -> pd.DataFrame:
    """The user's rows as items, after all checks.

    Args:
        texts: N texts.
        labels: N labels.
        ids: N ids of the rows.
        where: what an error calls the source.

    Returns:
        Columns item_id, text, label, options.

    Raises:
        DataError: rows that cannot be used; the message names them.
    """
    known = sorted({label for label in labels if isinstance(label, str)})
    frame = pd.DataFrame(
        {
            "item_id": pd.Series(ids, dtype=object),
            "text": pd.Series(texts, dtype=object),
            "label": pd.Series(labels, dtype=object),
            "options": pd.Series([known] * len(labels), dtype=object),
        }
    )
    check_items(frame, where=where, is_split=False)
    return frame


def choose_answers(labels: list[str], tokenizer: "PreTrainedTokenizerBase", template: str | None) -> Answers:
    """How to ask for these labels.

    Args:
        labels: distinct labels, sorted.
        tokenizer: that of the model.
        template: the user's own prompt; by default a usual one.

    Raises:
        DataError: a template without the place of the text, or whose end the tokenizer joins with the answer.
    """
    if template is not None and "{text}" not in template:
        raise DataError(f"--template: given {template!r}; expected a prompt that holds {{text}}")
    plain = Answers("labels", tuple(labels), tuple(labels), template or _LABELS)
    if _fits(plain, tokenizer) is None:
        return plain
    letters = tuple(ascii_uppercase[: len(labels)])
    lettered = Answers("letters", tuple(labels), letters, template or _LETTERS)
    if (problem := _fits(lettered, tokenizer)) is not None:
        raise DataError(f"--template {lettered.template!r}: {problem}")
    if "{options}" not in lettered.template:
        raise DataError(
            f"--template: given {template!r}, but letters stand for the labels {', '.join(labels[:4])}, whose first tokens do "
            "not differ: the prompt must hold {options} too, or leave it out"
        )
    return lettered


def _fits(answers: Answers, tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Why a tokenizer cannot tell the options apart; None if it can."""
    from memo_assets.data.tokens import tokenize

    sample = audit_samples(["A text."], [answers.labels[0]], answers, seed=0)
    try:
        tokenize(sample, tokenizer)
    except DataError as error:
        return re.sub(r"^sample 0: ", "", str(error))
    return None


def audit_samples(texts: list[str], labels: list[str], answers: Answers, *, seed: int) -> pd.DataFrame:
    """What the model is given, one row a text in the same order.

    Args:
        texts: N texts.
        labels: N labels, the ones given.
        answers: how they are asked for.
        seed: of the draw of templates, of which there is one.

    Returns:
        Columns sample_id (int64, the position), prompt, options, given_index, given_label (the label itself).
    """
    n = len(texts)
    lines = list(answers.options)
    if answers.kind == "letters":
        lines = [f"{option}: {label}" for option, label in zip(answers.options, answers.labels, strict=True)]
    place = {label: index for index, label in enumerate(answers.labels)}
    prompts = render_prompts(texts, [lines] * n, Prompt(templates=[answers.template]), seed)
    return pd.DataFrame(
        {
            "sample_id": range(n),
            "prompt": prompts,
            "options": [list(answers.options)] * n,
            "given_index": [place[label] for label in labels],
            "given_label": labels,
        }
    )
