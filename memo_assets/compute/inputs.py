"""What the steps of a worker read: samples, training rows, and the models over them.

What belongs here: from a work item to what the training loop and the forward pass take. What does not: what is
computed with it (`steps`, `forward_steps`).
"""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from memo_assets.compute.items import WorkItem
from memo_assets.compute.reporting import say
from memo_assets.config import Study
from memo_assets.store.files import read_json
from memo_assets.training.task import Task


def read_samples(item: WorkItem) -> pd.DataFrame:
    """The study's samples, in the order of their ids."""
    return pq.read_table(item.layout.samples).to_pandas()


def make_task(item: WorkItem, samples: pd.DataFrame) -> Task:
    """The models of the item's seeds over the study's samples, freshly initialised."""
    study, device = item.study, _device(item.study)
    if study.model.kind == "mlp":
        from memo_assets.data.images import image_shape
        from memo_assets.training.vision import VisionTask

        images = np.stack(samples["image"].to_list(), dtype=np.float32)
        given = samples["given_index"].to_numpy().astype(np.int64)
        n_classes = int(samples["options"].map(len).max())
        return VisionTask(
            images,
            given,
            n_classes,
            image_shape=image_shape(samples),
            hidden_widths=[study.model.width] * study.model.layers,
            seeds=item.seeds,
            device=device,
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
    return LanguageTask(model, tokens, study.lora, seeds=item.seeds, loss=recipe.loss, base_name=name)


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


def load_checkpoint(item: WorkItem, task: Task, epoch: float) -> None:
    """Put the models as they were at a checkpoint into their task."""
    for k, seed in enumerate(item.seeds):
        task.load(k, item.layout.adapter(seed, epoch))
