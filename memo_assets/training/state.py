"""What a killed training run needs to go on: one file, and what it belongs to.

What belongs here: writing and reading the state of a run, and the hash of content that tells one run from another.
What does not: the files of a checkpoint, which the caller writes.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class RunState:
    """Where a run stood: optimizer steps made, and by parameter its value and AdamW's two moments."""

    step: int
    tensors: dict[str, dict[str, Tensor]]


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
    *,
    step: int,
    identity: dict[str, object],
) -> None:
    """Write parameters, AdamW moments and step as safetensors, by a temporary name and a rename.

    Args:
        path: the file; one that is there is replaced.
        parameters: by name.
        optimizer: AdamW over these parameters.
        step: optimizer steps made.
        identity: JSON values by which `load_state` recognizes the run.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"{name}/value"] = parameter.detach()
        for moment in _MOMENTS:
            stored = optimizer.state.get(parameter, {}).get(moment)
            tensors[f"{name}/{moment}"] = torch.zeros_like(parameter) if stored is None else stored
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    save_file(
        tensors, partial, metadata={"step": str(step), "identity": json.dumps(identity, sort_keys=True)}
    )
    partial.replace(path)


def load_state(path: Path, identity: dict[str, object]) -> RunState:
    """Read a state written by `save_state`.

    Raises:
        ValueError: the state belongs to a run with another identity; the message names what differs.
    """
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
        found = json.loads(metadata["identity"])
        wanted = json.loads(json.dumps(identity))
        differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
        if differing:
            detail = "; ".join(f"{key}: {found.get(key)} there, {wanted.get(key)} here" for key in differing)
            raise ValueError(
                f"{path} is the state of another training run ({detail}); remove it to train anew, or give its recipe"
            )
        tensors: dict[str, dict[str, Tensor]] = {}
        for key in stored.keys():  # noqa: SIM118 - not a mapping
            name, _, part = key.rpartition("/")
            tensors.setdefault(name, {})[part] = stored.get_tensor(key)
    return RunState(int(metadata["step"]), tensors)
