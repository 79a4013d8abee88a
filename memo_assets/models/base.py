"""Loading the frozen base model of a language study.

What belongs here: from a hub id or directory to a causal language model and its tokenizer. What does not: adapters
(`packed_lora`), models that the platform makes itself (`tiny_llama`).
"""

from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_base(
    name: str | Path,
    dtype: Literal["fp32", "bf16"],
    revision: str | None = None,
    *,
    device: torch.device | str = "cpu",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model, frozen and in evaluation mode, with its tokenizer.

    Only safetensors weights are read, and code that comes with a model is never run.

    Args:
        name: a directory that holds model and tokenizer, or a hub id.
        dtype: precision of the weights.
        revision: commit of the hub repository; None takes the newest one.
        device: where the model is put.

    Raises:
        FileNotFoundError: no such directory, no such hub model, or one that is not in the cache while offline.
    """
    source = str(name)
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise FileNotFoundError(_missing(source, revision))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source, revision=revision, dtype=_DTYPES[dtype], use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    except OSError as error:
        raise FileNotFoundError(_missing(source, revision)) from error
    model.requires_grad_(requires_grad=False)
    model.to(device)  # pyright: ignore[reportArgumentType] - the library's decorator hides `self`
    return model.eval(), tokenizer


def _missing(source: str, revision: str | None) -> str:
    from huggingface_hub import constants

    directory = Path(source)
    if directory.is_dir():
        found = sorted(entry.name for entry in directory.iterdir())
        return (
            f"the directory {directory.resolve()} holds no complete causal language model: it needs config.json, "
            f"*.safetensors and the tokenizer's files; it has {found}"
        )
    at = f" at revision {revision}" if revision else ""
    where = f"as a directory ({directory.resolve()}) and in the hub cache ({constants.HF_HUB_CACHE})"
    if constants.HF_HUB_OFFLINE:
        return f"no base model {source!r}{at}: looked for {where}; HF_HUB_OFFLINE is set, so the hub was not asked"
    return (
        f"no base model {source!r}{at}: looked for {where} and on the hub ({constants.ENDPOINT}); it does not exist, "
        "is gated and needs a login, has no safetensors weights, or the hub cannot be reached"
    )
