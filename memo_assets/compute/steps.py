"""What a worker does for each GPU-bound step: read files, call training and measures, write files.

What belongs here: one function per step, from a work item to the files of each seed. What does not: processes and
results (`worker`), the loop and the models (`training`, `models`).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from memo_assets.compute.items import SeedResult, WorkItem
from memo_assets.compute.scores import layer_scores_at
from memo_assets.config import Study
from memo_assets.store.files import content_hash, read_json, replace_folder, write_json, write_parquet
from memo_assets.store.layout import epoch_folder
from memo_assets.training.forward import forward
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.task import Task

OnProgress = Callable[[int, int, str], None]
Results = dict[int, SeedResult]
NO_SEED = -1


def base_model(item: WorkItem, on_progress: OnProgress) -> Results:
    """Pretrain the study's own base model, or check that the named one loads; write which one it is."""
    model, layout = item.study.model, item.layout
    assert model.kind != "mlp"
    if model.kind == "tiny_llama":
        from memo_assets.models.tiny_llama import base_model_hash, pretrain_tiny_llama

        background = pd.read_parquet(layout.background)
        name = base_model_hash(background, model)
        directory = layout.base_models / name
        facts: dict[str, object] = {"cached": directory.is_dir()}
        if not directory.is_dir():
            layout.base_models.mkdir(parents=True, exist_ok=True)
            pretrain_tiny_llama(
                background,
                model,
                directory,
                on_progress=lambda done, total: on_progress(done, total, "steps"),
            )
        record = {"kind": model.kind, "folder": name}
        version = content_hash(directory)
    else:
        from memo_assets.models.base import load_base

        loaded, _ = load_base(model.name, model.dtype, model.revision)
        revision = getattr(loaded.config, "_commit_hash", None) or model.revision
        folder = Path(model.name)
        record = {"kind": model.kind, "name": model.name, "revision": revision, "dtype": model.dtype}
        version = content_hash(folder) if folder.is_dir() else f"{model.name}@{revision}"
        facts = {"parameters": sum(weight.numel() for weight in loaded.parameters())}
    write_json(layout.base_model, {**record, "data_version": version})
    return {NO_SEED: SeedResult(data_version=version, facts=facts)}


def adapters(item: WorkItem, on_progress: OnProgress) -> Results:
    """Train the models of all seeds of the item together; write their checkpoints and training logs."""
    study, layout = item.study, item.layout
    samples = _samples(item)
    task = _task(item, samples)
    rows = np.stack([_train_rows(item, samples, seed) for seed in item.seeds])
    made, state = item.folder / "made", item.folder / "state" / "training.safetensors"
    # Only an earlier, killed attempt leaves a state. Without one all is written anew, whatever lies there.
    moved = {seed for seed in item.seeds if state.exists() and _already_moved(item, seed)}
    if not state.exists():
        shutil.rmtree(made, ignore_errors=True)

    def on_checkpoint(epoch: float, step: int, stats: CheckpointStats) -> None:
        for k, seed in enumerate(item.seeds):
            folder = made / f"seed={seed}"
            if seed in moved:
                continue
            task.export(k, folder / epoch_folder(epoch))
            entry = {
                "epoch": epoch,
                "step": step,
                "train_loss_mean": None if stats.mean_loss is None else float(stats.mean_loss[k]),
                "train_loss_median": None if stats.median_loss is None else float(stats.median_loss[k]),
                "learning_rate": stats.learning_rate,
            }
            write_json(folder / "log" / f"{epoch_folder(epoch)}.json", entry)

    train(
        task,
        rows,
        study.training,
        state_path=state,
        on_checkpoint=on_checkpoint,
        on_progress=lambda done, total: on_progress(done, total, "steps"),
    )
    results: Results = {}
    for seed in item.seeds:
        folder = made / f"seed={seed}"
        if seed not in moved:
            if not (folder / "training.json").is_file():  # else the attempt was killed right here
                entries = [
                    folder / "log" / f"{epoch_folder(epoch)}.json" for epoch in study.training.checkpoints
                ]
                log = {"item": item.key, "checkpoints": [read_json(entry) for entry in entries]}
                write_json(folder / "training.json", log)
            shutil.rmtree(folder / "log", ignore_errors=True)
            replace_folder(folder, layout.adapters(seed))
        log = read_json(layout.training_log(seed))["checkpoints"]
        facts = {
            "steps": log[-1]["step"],
            "train_samples": int(rows.shape[1]),
            "last_train_loss": log[-1]["train_loss_mean"],
            "packed_with": len(item.seeds),
        }
        version = content_hash(*(layout.adapter(seed, epoch) for epoch in study.training.checkpoints))
        results[seed] = SeedResult(data_version=version, facts=facts)
    return results


def logits(item: WorkItem, on_progress: OnProgress) -> Results:
    """Forward pass of every checkpoint of every seed over all samples, pool and test."""
    samples = _samples(item)
    task = _task(item, samples)
    epochs = item.study.training.checkpoints
    given = samples["given_index"].to_numpy()
    n_options = samples["options"].map(len).to_numpy()
    is_test = (samples["part"] == "test").to_numpy()
    tables: dict[int, list[pa.Table]] = {seed: [] for seed in item.seeds}
    gaps = np.empty(0)
    for number, epoch in enumerate(epochs):
        _load(item, task, epoch)
        outputs = forward(task, len(samples))
        gaps = _gaps(outputs.option_logits, given)
        for k, seed in enumerate(item.seeds):
            tables[seed].append(
                pa.table(
                    {
                        "split_seed": pa.array(np.full(len(samples), seed, np.int32)),
                        "epoch": pa.array(np.full(len(samples), epoch, np.float64)),
                        "sample_id": pa.array(samples["sample_id"].to_numpy()),
                        "loss": pa.array(outputs.loss[k]),
                        "logit_gap": pa.array(gaps[k]),
                        "option_logits": _ragged(outputs.option_logits[k], n_options),
                    }
                )
            )
        on_progress(number + 1, len(epochs), "checkpoints")
    results: Results = {}
    for k, seed in enumerate(item.seeds):
        path = item.layout.logits(seed)
        write_parquet(path, pa.concat_tables(tables[seed]))
        in_train = np.zeros(len(samples), dtype=bool)
        in_train[_train_rows(item, samples, seed)] = True
        facts = {
            "train_accuracy": float((gaps[k][in_train] > 0).mean()),
            "test_accuracy": float((gaps[k][is_test] > 0).mean()),
            "rows": len(samples) * len(epochs),
        }
        results[seed] = SeedResult(data_version=content_hash(path), facts=facts)
    return results


def layer_scores(item: WorkItem, on_progress: OnProgress) -> Results:
    """Hidden states of every checkpoint of the audited models, reduced to scores at once and never stored."""
    samples = _samples(item)
    epochs = item.study.training.checkpoints
    results: Results = {}
    for number, seed in enumerate(item.seeds):
        one = item.model_copy(update={"seeds": [seed]})
        task = _task(one, samples)
        train_rows = np.sort(_train_rows(item, samples, seed))
        labels = samples["given_label"].to_numpy()[train_rows]
        per_sample, per_layer = [], []
        for done, epoch in enumerate(epochs):
            _load(one, task, epoch)
            hidden = forward(task, len(samples), hidden=True).hidden
            assert hidden is not None
            scores, summary = layer_scores_at(hidden[:, 0, train_rows], labels, item.study.scores)
            scores.insert(0, "sample_id", np.tile(samples["sample_id"].to_numpy()[train_rows], len(hidden)))
            for frame in (scores, summary):
                frame.insert(0, "epoch", float(epoch))
            per_sample.append(scores)
            per_layer.append(summary)
            on_progress(number * len(epochs) + done + 1, len(item.seeds) * len(epochs), "checkpoints")
        paths = (item.layout.layer_scores(seed), item.layout.layer_summary(seed))
        for path, frames in zip(paths, (per_sample, per_layer), strict=True):
            write_parquet(path, pa.Table.from_pandas(pd.concat(frames), preserve_index=False))
        facts = {"layers": int(per_layer[0]["layer"].max()), "samples": len(train_rows)}
        results[seed] = SeedResult(data_version=content_hash(*paths), facts=facts)
    return results


STEPS: dict[str, Callable[[WorkItem, OnProgress], Results]] = {
    "base_model": base_model,
    "adapters": adapters,
    "logits": logits,
    "layer_scores": layer_scores,
}


def _samples(item: WorkItem) -> pd.DataFrame:
    return pq.read_table(item.layout.samples).to_pandas()


def _task(item: WorkItem, samples: pd.DataFrame) -> Task:
    """The models of the item's seeds over the study's samples, freshly initialised."""
    study, device = item.study, _device(item.study)
    if study.model.kind == "mlp":
        from memo_assets.training.vision import VisionTask

        images = np.stack(samples["image"].to_list()).astype(np.float32)
        given = samples["given_index"].to_numpy().astype(np.int64)
        n_classes = int(samples["options"].map(len).max())
        return VisionTask(
            images,
            given,
            n_classes,
            hidden_widths=[study.model.width] * study.model.layers,
            seeds=item.seeds,
            device=device,
        )
    from memo_assets.data.tokens import tokenize
    from memo_assets.models.base import load_base
    from memo_assets.training.language import LanguageTask

    record = read_json(item.layout.base_model)
    if record["kind"] == "tiny_llama":
        name, dtype, revision = str(item.layout.base_models / record["folder"]), "fp32", None
    else:
        name, dtype, revision = record["name"], record["dtype"], record["revision"]
    model, tokenizer = load_base(name, dtype, revision, device=device)
    assert study.lora is not None
    return LanguageTask(model, tokenize(samples, tokenizer), study.lora, seeds=item.seeds, base_name=name)


def _device(study: Study) -> torch.device:
    wanted = study.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"study {study.name}: compute.device is cuda, but torch finds no GPU here; use auto or cpu, or run "
            "where there is one"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _train_rows(item: WorkItem, samples: pd.DataFrame, seed: int) -> np.ndarray:
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


def _load(item: WorkItem, task: Task, epoch: float) -> None:
    for k, seed in enumerate(item.seeds):
        task.load(k, item.layout.adapter(seed, epoch))


def _already_moved(item: WorkItem, seed: int) -> bool:
    """Whether an earlier attempt of this very item has put the seed's folder in its place."""
    log = item.layout.training_log(seed)
    return (
        log.is_file()
        and read_json(log)["item"] == item.key
        and not (item.folder / "made" / f"seed={seed}").is_dir()
    )


def _gaps(option_logits: np.ndarray, given: np.ndarray) -> np.ndarray:
    """float32 [K, N], logit of the given label minus the largest of the others."""
    from memo_assets.measures.lira import logit_gap

    return logit_gap(option_logits, given).astype(np.float32)


def _ragged(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """List array of the first `lengths[i]` values of every row."""
    keep = np.arange(values.shape[1]) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[keep].astype(np.float32)))
