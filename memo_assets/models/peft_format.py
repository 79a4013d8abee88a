"""One adapter of a pack as files that PEFT reads, and back.

What belongs here: the directory of one adapter, `adapter_config.json` and `adapter_model.safetensors`. What does not:
the packed modules (`packed_lora`), where adapters lie (`store`).
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from memo_assets.models.packed_lora import PackedLora
from memo_assets.store.files import give_usual_rights

_PREFIX = "base_model.model."
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def save_adapter(pack: PackedLora, k: int, directory: Path, *, base_name: str) -> None:
    """Write adapter k of a pack so that `peft.PeftModel.from_pretrained(base, directory)` loads it.

    The directory appears only when complete: it is written under another name and renamed. One that is already there
    is replaced.

    Args:
        pack: the packed adapters.
        k: position in the pack, not the split seed.
        directory: the adapter's directory; its parents are made.
        base_name: hub id or directory of the base model, kept in the adapter's configuration.
    """
    from peft import LoraConfig, TaskType

    lora = pack.lora
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        base_model_name_or_path=base_name,
        inference_mode=True,
        r=lora.rank,
        lora_alpha=int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=sorted(lora.targets),
    ).save_pretrained(str(partial))
    tensors = {
        f"{_PREFIX}{name}.weight": parameter.detach()[k].to("cpu", copy=True)
        for name, parameter in pack.parameters().items()
    }
    save_file(tensors, partial / _WEIGHTS, metadata={"format": "pt"})
    give_usual_rights(partial)
    if directory.exists():
        shutil.rmtree(directory)
    partial.rename(directory)


def load_adapter(pack: PackedLora, k: int, directory: Path) -> None:
    """Read an adapter written by `save_adapter` or by PEFT into slot k of a pack.

    Raises:
        FileNotFoundError: the directory holds no adapter.
        ValueError: rank or alpha, or the names or shapes of weights, differ from the pack's.
    """
    for name in (_CONFIG, _WEIGHTS):
        if not (directory / name).is_file():
            raise FileNotFoundError(f"no adapter in {directory}: {name} is missing")
    config = json.loads((directory / _CONFIG).read_text())
    if (config["r"], config["lora_alpha"]) != (pack.lora.rank, pack.lora.alpha):
        raise ValueError(
            f"the adapter in {directory} has rank {config['r']} and alpha {config['lora_alpha']}, "
            f"the pack has rank {pack.lora.rank} and alpha {pack.lora.alpha}"
        )
    stored = load_file(directory / _WEIGHTS)
    wanted = {f"{_PREFIX}{name}.weight": parameter for name, parameter in pack.parameters().items()}
    if {name: t.shape for name, t in stored.items()} != {name: p.shape[1:] for name, p in wanted.items()}:
        raise ValueError(
            f"the adapter in {directory} has other modules or shapes than the pack: "
            f"{len(stored)} tensors, {len(stored.keys() ^ wanted.keys())} names not in both"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter[k].copy_(stored[name])
