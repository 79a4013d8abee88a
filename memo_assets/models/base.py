"""Loading the frozen base model of a language study.

What belongs here: from a hub id or directory to a causal language model and its tokenizer. What does not: adapters
(`packed_lora`), models that the platform makes itself (`tiny_llama`).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from memo_assets.config.model import Precision

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_base(
    name: str | Path,
    dtype: Precision,
    revision: str | None = None,
    *,
    device: torch.device | str = "cpu",
    attention: str | None = None,
    device_map: str | Mapping[str, int | str] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model, frozen and in evaluation mode, with its tokenizer.

    Only safetensors weights are read, and code that comes with a model is never run.

    Args:
        name: a directory that holds model and tokenizer, or a hub id.
        dtype: precision of the weights. int8 and nf4 are made by bitsandbytes while loading; what it leaves as it is,
            and all results of modules, are bfloat16 on a GPU and float32 on a CPU.
        revision: commit of the hub repository; None takes the newest one.
        device: where the model is put, unless a device map is given.
        attention: implementation of attention; None leaves the choice to transformers.
        device_map: "auto", or the device of every module, for a model larger than one device.

    Source: NF4 with double quantization: Dettmers et al., "QLoRA", NeurIPS 2023; int8: Dettmers et al., "LLM.int8()",
    NeurIPS 2022.

    Raises:
        FileNotFoundError: no such directory, or no such hub model.
        ValueError: the hub model is not in the cache and the process is offline.
    """
    source = str(name)
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise _missing(source, revision, None)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            **_placed(dtype, torch.device(device), device_map),
        )
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    except OSError as error:
        raise _missing(source, revision, error) from error
    model.requires_grad_(requires_grad=False)
    if dtype in _DTYPES and device_map is None:
        model.to(device)  # pyright: ignore[reportArgumentType] - the library's decorator hides `self`
    if dtype == "nf4":
        _keep_layout(model)
    return model.eval(), tokenizer


def _keep_layout(model: PreTrainedModel) -> None:
    """Forbid bitsandbytes to rearrange 4-bit weights for prediction on CPUs.

    It rounds their scales to bfloat16, and the gradient of the next training step could no longer be computed.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _placed(
    dtype: Precision, device: torch.device, device_map: str | Mapping[str, int | str] | None
) -> dict[str, object]:
    """Arguments of `from_pretrained` for a precision and a place."""
    place = {} if device_map is None else {"device_map": device_map}
    if dtype in _DTYPES:
        return {"dtype": _DTYPES[dtype], **place}
    from transformers import BitsAndBytesConfig

    computed = torch.bfloat16 if device.type == "cuda" else torch.float32
    quantization = (
        BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed,
        )
        if dtype == "nf4"
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    # Quantized weights cannot be moved once they are made.
    return {"dtype": computed, "quantization_config": quantization, **(place or {"device_map": {"": device}})}


def local_tokenizer(name: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase | None:
    """Tokenizer of a base model in a directory or in the hub's cache; None if it is not there. The hub is not asked.

    Args:
        name: a directory that holds model and tokenizer, or a hub id.
        revision: commit of the hub repository; None takes the newest one of the cache.
    """
    try:
        return AutoTokenizer.from_pretrained(
            str(name), revision=revision, local_files_only=True, trust_remote_code=False
        )
    except OSError:
        return None


def hub_commit(name: str, revision: str | None = None) -> str | None:
    """Commit that a revision of a hub model stands for in the cache, which alone is asked; None for a directory.

    Args:
        name: a hub id whose model has been loaded, or a directory.
        revision: as given to `load_base`.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(name).is_dir():
        return None
    # Releases of transformers differ in whether a loaded model tells its commit; the path of its files always does.
    path = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


def _missing(source: str, revision: str | None, error: OSError | None) -> FileNotFoundError | ValueError:
    from huggingface_hub import constants

    directory = Path(source)
    if directory.is_dir():
        found = sorted(entry.name for entry in directory.iterdir())
        return FileNotFoundError(
            f"the directory {directory.resolve()} holds no complete causal language model: it needs config.json, "
            f"*.safetensors and the tokenizer's files; it has {found}"
        )
    if directory.is_absolute():
        return FileNotFoundError(f"no base model {source!r}: this machine sees no such directory")
    at = f" at revision {revision}" if revision else ""
    cache = constants.HF_HUB_CACHE
    if constants.HF_HUB_OFFLINE or _unanswered(error):
        return ValueError(
            f"model {source!r}{at} is not in the cache (below HF_HOME: {cache}), or only in part, and this process is "
            "offline: run `memo fetch STUDY` where there is internet"
        )
    return FileNotFoundError(
        f"no base model {source!r}{at}: looked for as a directory ({directory.resolve()}), in the hub cache ({cache}) "
        f"and on the hub ({constants.ENDPOINT}); it does not exist, is gated and needs a login, has no safetensors "
        "weights, or the hub cannot be reached"
    )


def _unanswered(error: BaseException | None) -> bool:
    """Whether the hub was asked in vain: the library then says that the cache lacks the file, and no HTTP status."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    causes: list[BaseException] = []
    while error is not None:
        causes.append(error)
        error = error.__cause__
    return any(isinstance(cause, LocalEntryNotFoundError) for cause in causes) and not any(
        isinstance(cause, HfHubHTTPError) for cause in causes
    )
