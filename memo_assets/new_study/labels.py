"""How the labels of a study read to its base model.

What belongs here: the tokens of labels where the tokenizer is on this machine. What does not: downloads (`fetch`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from memo_assets.config import Study
from memo_assets.models.errors import ModelMissingError
from memo_assets.study_file import StudyError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def label_tokens(study: Study) -> dict[str, object]:
    """Check that labels can be told apart by their first token, and say which have more than one.

    Args:
        study: a language study.

    Returns:
        One fact for the reader, also where the tokenizer is not on this machine.

    Raises:
        StudyError: two labels share their first token, or a prompt does not go with its labels.
    """
    from memo_assets.data.items import load_items
    from memo_assets.data.samples import build_samples
    from memo_assets.data.tokens import tokenize

    tokenizer = tokenizer_at_hand(study)
    if tokenizer is None:
        return {"labels": "not checked as tokens, for the model is not on this machine; memo fetch brings it"}
    samples = build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    try:
        tokenize(samples, tokenizer)
    except ValueError as error:
        raise StudyError(f"study {study.name}: {error}") from error
    labels = samples["options"].iloc[0]
    several = [label for label in labels if len(tokenizer.tokenize(f" {label}")) > 1]
    if several:
        return {"labels": f"told apart by their first token; of several tokens: {', '.join(several)}"}
    return {"labels": "one token each"}


def tokenizer_at_hand(study: Study) -> "PreTrainedTokenizerBase | None":
    """The tokenizer of a study's base model, from this machine alone; None if it is not there."""
    from transformers import AutoTokenizer

    if study.model.kind == "gguf":
        from memo_assets.models.gguf import gguf_file

        try:
            path = gguf_file(study.model)
        except ModelMissingError:
            return None
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    if study.model.kind != "pretrained":
        return None
    try:
        return AutoTokenizer.from_pretrained(
            study.model.name, revision=study.model.revision, local_files_only=True, trust_remote_code=False
        )
    except OSError:
        return None
