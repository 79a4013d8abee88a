"""How the labels of a study read to its base model.

What belongs here: the tokens of labels and the scoring they need, where the tokenizer is on this machine. What does not: downloads (`fetch`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from memo_assets.config import Study
from memo_assets.models.errors import ModelMissingError
from memo_assets.study_file import StudyError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scoring = Literal["token", "sequence"]


def label_tokens(study: Study) -> tuple[Scoring, str]:
    """How options must be scored so that the model can tell the labels apart.

    Args:
        study: a language study.

    Returns:
        `token` if every label begins with a token of its own, or if the tokenizer is not on this machine; else
        `sequence`. And a sentence for the reader.

    Raises:
        StudyError: no way of scoring can tell the labels apart, or a prompt does not go with its labels.
    """
    from memo_assets.data.items import load_items
    from memo_assets.data.samples import build_samples
    from memo_assets.data.tokens import tokenize

    tokenizer = tokenizer_at_hand(study)
    if tokenizer is None:
        return "token", "not checked as tokens, for the model is not on this machine; memo fetch brings it"
    samples = build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    labels = samples["options"].iloc[0]
    several = [label for label in labels if len(tokenizer.tokenize(f" {label}")) > 1]
    try:
        tokenize(samples, tokenizer)
    except ValueError as first:
        try:
            tokenize(samples, tokenizer, scoring="sequence")
        except ValueError:
            raise StudyError(f"study {study.name}: {first}") from first
        return "sequence", f"begin alike, so all their tokens are scored; of several: {', '.join(several)}"
    if several:
        return "token", f"told apart by their first token; of several tokens: {', '.join(several)}"
    return "token", "one token each"


def tokenizer_at_hand(study: Study) -> "PreTrainedTokenizerBase | None":
    """The tokenizer of a study's base model, from this machine alone; None if it is not there."""
    from transformers import AutoTokenizer

    from memo_assets.models.base import local_tokenizer

    if study.model.kind == "gguf":
        from memo_assets.models.gguf import gguf_file

        try:
            path = gguf_file(study.model)
        except ModelMissingError:
            return None
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    if study.model.kind != "pretrained":
        return None
    return local_tokenizer(study.model.name, study.model.revision)
