"""What a worker does for each GPU-bound step: read files, call training and measures, write files.

What belongs here: one function per step, from a work item to the files of each seed; those of the forward pass are in
`forward_steps` and `variation_step`. What does not: processes and results (`worker`), the loop and the models (`training`, `models`).

Every step asks now and then whether it is to stop. If so it keeps what it needs in the item's work folder and raises
`Interrupted`; the same item then goes on where it stood. Pretraining alone keeps nothing and starts anew.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from memo_assets.compute.audit_step import audit
from memo_assets.compute.forward_steps import layer_scores, logits
from memo_assets.compute.inputs import make_task, read_samples, training_set, trigger_epoch
from memo_assets.compute.items import NO_SEED, SeedResult, WorkItem, seeds_in_words
from memo_assets.compute.reporting import OnProgress, Results, say
from memo_assets.compute.variation_step import answer_variation
from memo_assets.config import Mlp, WideResNet
from memo_assets.store.files import content_hash, read_json, replace_folder, write_json
from memo_assets.store.layout import TRIGGER_FOLDER, epoch_folder
from memo_assets.training.interruption import ShouldStop, never
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.privacy import privacy_of
from memo_assets.training.schedule import steps_per_epoch
from memo_assets.training.state import BrokenStateError, stored_step
from memo_assets.training.trigger import Triggered


def base_model(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Pretrain or convert the study's base model, or check that the named one loads; write which one it is."""
    model, layout = item.study.model, item.layout
    assert not isinstance(model, (Mlp, WideResNet))
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
                should_stop=should_stop,
            )
        record = {"kind": model.kind, "folder": name}
        version = content_hash(directory)
    elif model.kind == "gguf":
        from memo_assets.models.gguf import convert_gguf, gguf_file, gguf_hash

        file = gguf_file(model)
        name = gguf_hash(file)
        directory = layout.base_models / name
        facts = {"cached": directory.is_dir()}
        if not directory.is_dir():
            say(f"{file.name} is rewritten as float32 safetensors, once")
            convert_gguf(file, directory)
        record = {"kind": model.kind, "folder": name}
        version = content_hash(directory)
    else:
        from memo_assets.models.base import hub_commit, load_base

        # As they are stored: whether all is there is what counts, and a quantized load would need the workers' device.
        loaded, _ = load_base(model.name, "bf16", model.revision)
        revision = hub_commit(model.name, model.revision) or model.revision
        folder = Path(model.name)
        record = {"kind": model.kind, "name": model.name, "revision": revision}
        version = content_hash(folder) if folder.is_dir() else f"{model.name}@{revision}"
        facts = {"parameters": sum(weight.numel() for weight in loaded.parameters())}
    write_json(layout.base_model, {**record, "data_version": version})
    return {NO_SEED: SeedResult(data_version=version, facts=facts)}


def adapters(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Train the models of all seeds of the item together; write their checkpoints and training logs."""
    study, layout = item.study, item.layout
    trained = training_set(item, read_samples(item))
    task, rows = make_task(item, trained.samples), trained.rows
    dp = None if study.protection is None else study.protection.dp
    privacy = None if dp is None else privacy_of(dp, study.training, rows.shape[1])
    total = study.training.epochs * steps_per_epoch(study.training, rows.shape[1])
    made, state = item.folder / "made", item.folder / "state" / "training.safetensors"
    # Only an earlier attempt that did not end leaves a state. Without one all is written anew, whatever lies there.
    began = _steps_made(state)
    moved = {seed for seed in item.seeds if began is not None and _already_moved(item, seed)}
    if began is None:
        shutil.rmtree(made, ignore_errors=True)
    else:
        say(f"{seeds_in_words(item.seeds)}: resumed at step {began} of {total}")

    def on_checkpoint(epoch: float, step: int, stats: CheckpointStats) -> None:
        for k, seed in enumerate(item.seeds):
            folder = made / f"seed={seed}"
            if seed in moved:
                continue
            task.export(k, folder / epoch_folder(epoch))
            write_json(folder / "log" / f"{epoch_folder(epoch)}.json", _entry(epoch, step, stats, k))
        loss = "" if stats.mean_loss is None else f", mean training loss {stats.mean_loss.mean():.4f}"
        say(f"{seeds_in_words(item.seeds)}: epoch {epoch:g}, step {step} of {total}{loss}")

    def on_trigger(epoch: float, step: int, stats: CheckpointStats, triggered: Triggered) -> None:
        seed = item.seeds[triggered.k]
        folder = made / f"seed={seed}"
        if seed not in moved:
            if epoch not in study.training.checkpoints:
                task.export(triggered.k, folder / TRIGGER_FOLDER)
            entry = {**_entry(epoch, step, stats, triggered.k), "is_trigger": True}
            write_json(folder / "log" / f"{TRIGGER_FOLDER}.json", entry)
        say(
            f"{seeds_in_words([seed])}: epoch {epoch:g}, step {step} of {total}: trigger, the running median of the training "
            f"loss fell from {triggered.reference:.4f} to {triggered.median:.4f}"
        )

    train(
        task,
        rows,
        study.training,
        left_out=trained.left_out,
        dp=dp,
        state_path=state,
        on_checkpoint=on_checkpoint,
        on_trigger=on_trigger,
        on_progress=lambda done, total: on_progress(done, total, "steps"),
        should_stop=should_stop,
    )
    cut: dict[str, object] = {}
    if study.training.max_length is not None:
        from memo_assets.training.language import LanguageTask

        assert isinstance(task, LanguageTask)
        cut["cut_prompts"] = task.n_cut
    results: Results = {}
    for seed in item.seeds:
        folder = made / f"seed={seed}"
        if seed not in moved:
            if not (folder / "training.json").is_file():  # else the attempt was killed right here
                made_log: dict[str, object] = {
                    "item": item.key,
                    "checkpoints": _entries(folder / "log", study.training.checkpoints),
                }
                if privacy is not None:
                    made_log["privacy"] = privacy
                write_json(folder / "training.json", made_log)
            shutil.rmtree(folder / "log", ignore_errors=True)
            replace_folder(folder, layout.adapters(seed))
        log = read_json(layout.training_log(seed))["checkpoints"]
        facts = {
            "last_train_loss": round(log[-1]["train_loss_mean"], 6),
            # One text: numbers that are the same for all seeds would be plotted as flat lines.
            "training": f"{log[-1]['step']:,} steps on {rows.shape[1]:,} samples; pack of {seeds_in_words(item.seeds)}",
            **cut,
        }
        if privacy is not None:
            facts["privacy"] = (
                f"epsilon {privacy['epsilon']:.4g} at delta {privacy['delta']:g}, {privacy['assumes']}"
            )
        if triggers := [entry["epoch"] for entry in log if entry.get("is_trigger")]:
            facts["trigger_epoch"] = triggers[0]
        weights = [layout.adapter(seed, epoch) for epoch in study.training.checkpoints]
        if trigger_epoch(item, seed) is not None:
            weights.append(layout.trigger_adapter(seed))
        version = content_hash(*weights)
        results[seed] = SeedResult(data_version=version, facts=facts)
    return results


STEPS: dict[str, Callable[[WorkItem, OnProgress, ShouldStop], Results]] = {
    "base_model": base_model,
    "audit": audit,
    "adapters": adapters,
    "logits": logits,
    "layer_scores": layer_scores,
    "answer_variation": answer_variation,
}


def _entry(epoch: float, step: int, stats: CheckpointStats, k: int) -> dict[str, object]:
    """What the training log says of model k at a checkpoint."""
    return {
        "epoch": epoch,
        "step": step,
        "train_loss_mean": None if stats.mean_loss is None else float(stats.mean_loss[k]),
        "train_loss_median": None if stats.median_loss is None else float(stats.median_loss[k]),
        "learning_rate": stats.learning_rate,
    }


def _entries(logs: Path, epochs: list[float]) -> list[dict]:
    """Entries of the recipe's checkpoints and of the model's trigger, which may be at one of them; by step."""
    entries = {
        entry["step"]: entry
        for entry in (read_json(logs / f"{epoch_folder(epoch)}.json") for epoch in epochs)
    }
    if (trigger := logs / f"{TRIGGER_FOLDER}.json").is_file():
        entry = read_json(trigger)
        entries[entry["step"]] = entry
    return [entries[step] for step in sorted(entries)]


def _steps_made(state: Path) -> int | None:
    """Optimizer steps that an earlier attempt has made; None if there was none, or if its state is lost."""
    try:
        return stored_step(state)
    except FileNotFoundError:
        return None
    except BrokenStateError:
        say(f"{state} is damaged and removed: training starts anew")
        state.unlink()
        return None


def _already_moved(item: WorkItem, seed: int) -> bool:
    """Whether an earlier attempt of this very item has put the seed's folder in its place."""
    log = item.layout.training_log(seed)
    return (
        log.is_file()
        and read_json(log)["item"] == item.key
        and not (item.folder / "made" / f"seed={seed}").is_dir()
    )
