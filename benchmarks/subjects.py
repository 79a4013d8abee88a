"""The models and data that benchmarks of training and of the forward pass share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from memo_assets.config import Study
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples
from memo_assets.data.tokens import TokenizedSamples, tokenize
from memo_assets.models.base import load_base
from memo_assets.models.gguf import convert_gguf, gguf_file
from memo_assets.models.tiny_llama import pretrain_tiny_llama
from memo_assets.study_file import load_study


@dataclass(frozen=True)
class Subject:
    """A built-in language study with its samples and its base model on disk.

    Attributes:
        study: the study.
        samples: its samples.
        folder: of the base model.
        tokens: contexts and answers.
    """

    study: Study
    samples: pd.DataFrame
    folder: Path
    tokens: TokenizedSamples

    @property
    def pool(self) -> np.ndarray:
        """int64, positions of the samples that models are trained on."""
        return np.flatnonzero(self.samples["part"] == "pool")

    @property
    def texts(self) -> list[np.ndarray]:
        """Tokens of every sample, the first token of its answer last."""
        of, given = self.tokens, self.tokens.given_index
        answers = of.option_tokens[np.arange(len(given)), given, 0]
        contexts = np.split(of.ids, of.offsets[1:-1])
        return [np.append(context, answer) for context, answer in zip(contexts, answers, strict=True)]


def subject(name: str, parent: Path) -> Subject:
    """A study of a language model, its base model made or converted.

    Args:
        name: `cities` or `smollm2_cities`.
        parent: an empty folder.
    """
    study, folder = load_study(name), parent / name
    items = load_items(study.data, study.data_seed, parent)
    samples = build_samples(items, study)
    if study.model.kind == "gguf":
        convert_gguf(gguf_file(study.model), folder)
    else:
        assert study.model.kind == "tiny_llama"
        assert items.background is not None
        pretrain_tiny_llama(items.background, study.model, folder)
    _, tokenizer = load_base(str(folder), "fp32")
    return Subject(study, samples, folder, tokenize(samples, tokenizer))
