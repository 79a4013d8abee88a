"""What the steps of a worker read: samples, training rows, and the models over them.

What belongs here: from a work item to what the training loop and the forward pass take. What does not: what is
computed with it (`steps`, `forward_steps`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from memo_assets.compute.items import WorkItem
from memo_assets.compute.reporting import say
from memo_assets.config import Mlp, Study, WideResNet
from memo_assets.data.images import image_shape
from memo_assets.data.protection import relabelled, replaced_rows
from memo_assets.store.files import read_json
from memo_assets.store.layout import TRIGGER_FOLDER, epoch_folder
from memo_assets.training.pruning import prune_smallest
from memo_assets.training.task import Task

if TYPE_CHECKING:
    from memo_assets.models.packed_network import PackedNetwork


def read_samples(item: WorkItem) -> pd.DataFrame:
    """The study's samples, in the order of their ids."""
    return pq.read_table(item.layout.samples).to_pandas()


def make_task(item: WorkItem, samples: pd.DataFrame) -> Task:
    """The models of the item's seeds over the study's samples, freshly initialised."""
    study, device = item.study, _device(item.study)
    if isinstance(study.model, (Mlp, WideResNet)):
        from memo_assets.training.vision import VisionTask

        # Else cuDNN may add up the gradients of convolutions in any order, and no run could be repeated.
        torch.backends.cudnn.deterministic = True
        return VisionTask(
            make_network(study.model, samples, item.seeds).to(device),
            np.stack(samples["image"].to_list(), dtype=np.float32),
            samples["given_index"].to_numpy().astype(np.int64),
            image_shape=image_shape(samples),
            augmentation=study.training.augmentation,
            elr=None if study.protection is None else study.protection.elr,
        )
    from memo_assets.data.tokens import tokenize
    from memo_assets.models.base import load_base
    from memo_assets.training.language import LanguageTask

    record, settings = read_json(item.layout.base_model), study.model
    if "folder" in record:  # made by the study itself
        name, revision = str(item.layout.base_models / record["folder"]), None
    else:
        name, revision = record["name"], record["revision"]
    if settings.kind == "tiny_llama":
        model, tokenizer = load_base(name, "fp32", device=device)
    else:
        model, tokenizer = load_base(
            name,
            settings.dtype,
            revision,
            device=device,
            attention=settings.attention,
            device_map=settings.device_map,
        )
    assert study.lora is not None
    assert study.prompt is not None
    recipe = study.training
    tokens = tokenize(samples, tokenizer, scoring=study.prompt.scoring, max_length=recipe.max_length)
    if n_cut := int(tokens.cut.sum()):
        say(
            f"{n_cut} of {len(samples)} prompts are longer than {recipe.max_length} tokens and lose their beginning"
        )
    return LanguageTask(
        model,
        tokens,
        study.lora,
        seeds=item.seeds,
        loss=recipe.loss,
        base_name=name,
        elr=None if study.protection is None else study.protection.elr,
    )


def make_network(model: Mlp | WideResNet, samples: pd.DataFrame, seeds: Sequence[int]) -> "PackedNetwork":
    """The networks of some split seeds for a study's images, freshly initialised, on the CPU."""
    from memo_assets.models.packed_mlp import PackedMlp
    from memo_assets.models.packed_wide_resnet import PackedWideResNet

    shape, n_classes = image_shape(samples), int(samples["options"].map(len).max())
    if model.kind == "mlp":
        return PackedMlp([math.prod(shape), *[model.width] * model.layers, n_classes], seeds)
    return PackedWideResNet(shape, n_classes, depth=model.depth, width=model.width, seeds=seeds)


def _device(study: Study) -> torch.device:
    wanted = study.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"study {study.name}: compute.device is cuda, but torch finds no GPU here; use auto or cpu, or run "
            "where there is one"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def training_rows(item: WorkItem, samples: pd.DataFrame, seed: int) -> np.ndarray:
    """Positions of one model's training samples in the data set."""
    ids = pq.read_table(item.layout.split_mask(seed)).column("sample_id").to_numpy()
    known = samples["sample_id"].to_numpy()
    positions = np.searchsorted(known, ids)
    if (known[positions.clip(max=len(known) - 1)] != ids).any():
        raise ValueError(
            f"split mask of seed {seed} names samples that {item.layout.samples} does not hold: materialize "
            f"{item.study.name}/split_masks again"
        )
    return positions.astype(np.int64)


@dataclass(frozen=True)
class TrainingSet:
    """What the models of an item are trained on.

    Attributes:
        samples: all of the study, with the labels that they are trained with.
        rows: int64 [K, n], positions of each model's training samples.
        left_out: bool [N], samples that no model is trained on; None if there are none such.
    """

    samples: pd.DataFrame
    rows: np.ndarray
    left_out: np.ndarray | None


def training_set(item: WorkItem, samples: pd.DataFrame) -> TrainingSet:
    """The split masks of the item's seeds, changed as a protected variant changes them.

    Who is a member by the masks stays as it was: that is what an attack asks of.
    """
    rows = np.stack([training_rows(item, samples, seed) for seed in item.seeds])
    protection = item.study.protection
    if protection is None or protection.at_risk is None:
        return TrainingSet(samples, rows, None)
    protected = pq.read_table(item.layout.protected).to_pandas()
    treated = protected[protected["action"] != "relabel"]
    at_risk = samples["sample_id"].isin(treated["sample_id"]).to_numpy()
    if protection.at_risk == "replace":
        labels = samples["given_index"].to_numpy()
        rows = np.stack(
            [
                replaced_rows(of_model, at_risk, labels, seed)
                for of_model, seed in zip(rows, item.seeds, strict=True)
            ]
        )
    return TrainingSet(relabelled(samples, protected), rows, at_risk if at_risk[rows].any() else None)


def audited_set(item: WorkItem) -> tuple[pd.DataFrame, np.ndarray]:
    """What the audit of a study trains on.

    Returns:
        All samples of the study with the labels that they are trained with; and which of them, bool [N], a protected variant
        leaves out. Where it replaces samples they are left out, for one that stands twice can be scored once only.
    """
    samples = read_samples(item)
    protection = item.study.protection
    if protection is None or protection.at_risk is None:
        return samples, np.zeros(len(samples), dtype=bool)
    protected = pq.read_table(item.layout.protected).to_pandas()
    treated = protected.loc[protected["action"] != "relabel", "sample_id"]
    return relabelled(samples, protected), samples["sample_id"].isin(treated).to_numpy()


@dataclass(frozen=True)
class Checkpoint:
    """Weights that a pack is run forward with: at a checkpoint of the recipe, or of every model at its own trigger.

    Attributes:
        folder: name of its folder among the weights of each model.
        epochs: by split seed; without those models that have no such weights.
    """

    folder: str
    epochs: dict[int, float]


def checkpoints_of(item: WorkItem) -> list[Checkpoint]:
    """Checkpoints of the recipe, then that of the triggers, if any model met its own between those."""
    regular = [
        Checkpoint(epoch_folder(epoch), dict.fromkeys(item.seeds, epoch))
        for epoch in item.study.training.checkpoints
    ]
    found = {seed: trigger_epoch(item, seed) for seed in item.seeds}
    extra = {seed: epoch for seed, epoch in found.items() if epoch is not None}
    return [*regular, Checkpoint(TRIGGER_FOLDER, extra)] if extra else regular


def trigger_epoch(item: WorkItem, seed: int) -> float | None:
    """When a trained model met its trigger; None if it never did, or at a checkpoint of the recipe."""
    if item.study.training.trigger is None:
        return None
    for entry in read_json(item.layout.training_log(seed))["checkpoints"]:
        if entry.get("is_trigger") and entry["epoch"] not in item.study.training.checkpoints:
            return entry["epoch"]
    return None


def load_checkpoint(item: WorkItem, task: Task, checkpoint: Checkpoint) -> None:
    """Put the models as they were at a checkpoint into their task; those without such weights stay as they are.

    A study that is protected by pruning has its last checkpoint pruned.
    """
    for k, seed in enumerate(item.seeds):
        if seed in checkpoint.epochs:
            task.load(k, item.layout.adapters(seed) / checkpoint.folder)
    protection, last = item.study.protection, item.study.training.checkpoints[-1]
    if protection is not None and protection.prune is not None and checkpoint.folder == epoch_folder(last):
        prune_smallest(task.parameters(), protection.prune)
