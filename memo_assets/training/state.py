"""What a killed training run needs to go on: one file, and what it belongs to.

What belongs here: writing and reading the state of a run, and the hash of content that tells one run from another.
What does not: the files of a checkpoint, which the caller writes.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from memo_assets.store.files import give_usual_rights
from memo_assets.training.optimizers import moments

_LOSSES = "losses"
_TRIGGER = "trigger/"
_CHECKSUM = "checksum"


class BrokenStateError(ValueError):
    """A file that cannot be read as a state, or whose tensors are not those written: a failing disk has cut or changed it."""


@dataclass(frozen=True)
class RunState:
    """Where a run stood.

    step: optimizer steps made.
    tensors: by parameter its value and what the optimizer remembers of it; by buffer its value.
    losses: training losses [K, n] since the checkpoint before; empty right after one.
    trigger: state of the recipe's trigger by name; empty without one.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    losses: list[Tensor]
    trigger: dict[str, Tensor]


def content_hash(*arrays: np.ndarray) -> str:
    """SHA-256 of the types, shapes and bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save_state(
    path: Path,
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    losses: Sequence[Tensor],
    *,
    step: int,
    identity: dict[str, object],
    buffers: dict[str, Tensor],
    trigger: Mapping[str, Tensor] | None = None,
) -> None:
    """Write parameters, the optimizer's moments, buffers, losses and step as safetensors, by a temporary name and a rename.

    Args:
        path: the file; one that is there is replaced.
        parameters: by name.
        optimizer: over these parameters.
        losses: of each step since the checkpoint before, [K, b].
        step: optimizer steps made.
        identity: JSON values by which `load_state` recognizes the run.
        buffers: by name; no parameter's.
        trigger: state of the recipe's trigger by name; None without one.
    """
    tensors = {f"{name}/value": tensor.detach() for name, tensor in (parameters | buffers).items()}
    for name, parameter in parameters.items():
        for moment, stored in moments(optimizer, parameter).items():
            tensors[f"{name}/{moment}"] = stored
    if losses:
        tensors[_LOSSES] = torch.cat(list(losses), dim=1)
    tensors |= {f"{_TRIGGER}{name}": tensor for name, tensor in (trigger or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same temporary name: what killed attempts leave is overwritten and does not pile up.
    partial = path.with_name(f"{path.name}.partial")
    metadata = {
        "step": str(step),
        "identity": json.dumps(identity, sort_keys=True),
        _CHECKSUM: _checksum(tensors.items()),
    }
    save_file(tensors, partial, metadata=metadata)
    give_usual_rights(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def stored_step(path: Path) -> int:
    """Optimizer steps made by the run whose state a file is, whichever run that is.

    Raises:
        FileNotFoundError: there is no such file.
        BrokenStateError: the file cannot be read.
    """
    with _opened(path) as (metadata, _):
        return int(metadata["step"])


def load_state(path: Path, identity: dict[str, object]) -> RunState:
    """Read a state written by `save_state`.

    Raises:
        BrokenStateError: the file cannot be read.
        ValueError: the state belongs to a run with another identity; the message names what differs.
    """
    with _opened(path) as (metadata, stored):
        found = json.loads(metadata["identity"])
        wanted = json.loads(json.dumps(identity))
        differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
        if differing:
            detail = "; ".join(f"{key}: {found.get(key)} there, {wanted.get(key)} here" for key in differing)
            raise ValueError(
                f"{path} is the state of another training run ({detail}); remove it to train anew, or give its recipe"
            )
        tensors: dict[str, dict[str, Tensor]] = {}
        losses: list[Tensor] = []
        trigger: dict[str, Tensor] = {}
        for key in stored.keys():  # noqa: SIM118 - not a mapping
            if key == _LOSSES:
                losses.append(stored.get_tensor(key))
                continue
            if key.startswith(_TRIGGER):
                trigger[key.removeprefix(_TRIGGER)] = stored.get_tensor(key)
                continue
            name, _, part = key.rpartition("/")
            tensors.setdefault(name, {})[part] = stored.get_tensor(key)
    return RunState(int(metadata["step"]), tensors, losses, trigger)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], safe_open]]:
    """Metadata and tensors of a state file, which are those that were written."""
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            _require_as_written(metadata, stored)
            yield metadata, stored
    except SafetensorError as error:
        raise BrokenStateError(
            f"{path} cannot be read as the state of a training run ({error}): remove it and materialize again, "
            "then training starts anew"
        ) from error


def _require_as_written(metadata: Mapping[str, str], stored: safe_open) -> None:
    if not metadata.keys() >= {"step", "identity"}:
        raise SafetensorError("it does not say of which run it is")
    if _CHECKSUM not in metadata:  # of an earlier version
        return
    if _checksum((name, stored.get_tensor(name)) for name in stored.keys()) != metadata[_CHECKSUM]:  # noqa: SIM118
        raise SafetensorError("its tensors have changed since they were written")


def _checksum(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """CRC-32 of names and bytes of tensors, in the order of their names; safetensors itself has none."""
    found = {
        name: zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        for name, tensor in tensors
    }
    return f"{zlib.crc32(json.dumps(found, sort_keys=True).encode()):08x}"
