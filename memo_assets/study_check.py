"""Checking a study as far as that goes without training: settings, data, splits, steps, tokens."""

from pathlib import Path
from typing import TYPE_CHECKING

from memo_assets.config import Study
from memo_assets.study_file import StudyError, load_study

if TYPE_CHECKING:
    import pandas as pd


def check_study(name_or_path: str | Path) -> dict[str, object]:
    """Check a study file and its data.

    Args:
        name_or_path: a `defs.yaml`, its folder, or the name of a built-in study.

    Returns:
        Facts for the reader: samples, splits, steps, and tokens where the base model's tokenizer is there.

    Raises:
        StudyError: the file is invalid, or its data or recipe cannot be used; the message says what to change.
    """
    study = load_study(name_or_path)
    try:
        return _check_data(study)
    except (ValueError, OSError) as error:
        raise StudyError(f"study {study.name}: {error}") from error


def _check_data(study: Study) -> dict[str, object]:
    from memo_assets.data.errors import DataMissingError
    from memo_assets.data.items import load_items
    from memo_assets.data.samples import build_samples
    from memo_assets.data.splits import training_positions
    from memo_assets.training.schedule import checkpoint_steps, steps_per_epoch

    try:
        items = load_items(study.data, study.data_seed, Path.cwd())
    except DataMissingError as error:
        return {"study": study.name, "models": study.shadows.models, "data": f"not checked: {error}"}
    samples = build_samples(items, study)
    if not study.is_language:
        _check_images(study, samples)
    pool = samples[samples["part"] == "pool"]
    n_train = int(study.shadows.train_share * len(pool))
    if not n_train:
        raise ValueError(
            f"shadows.train_share = {study.shadows.train_share} of a pool of {len(pool)} samples leaves none to train "
            "on; raise it"
        )
    alone: dict[int, list[str]] = {}
    for seed in study.shadows.audited:
        rows = training_positions(
            len(pool), study.shadows.train_share, seed, membership=study.shadows.membership
        )
        labels = pool["given_label"].iloc[rows]
        counts = labels.value_counts().sort_index()
        if rare := counts.index[counts == 1].tolist():
            alone[seed] = rare
        if (counts > 1).sum() < 2:
            raise ValueError(
                f"split seed {seed} trains on {counts.to_dict()} (samples by label), and scoring it takes two labels and "
                "two samples of each: give more data, raise shadows.train_share, or audit another split seed"
            )
    points = checkpoint_steps(study.training, n_train)
    trigger, n_losses = study.training.trigger, study.training.epochs * n_train
    if trigger is not None and trigger.window >= n_losses:
        raise ValueError(
            f"training.trigger.window = {trigger.window}, but a model sees {n_losses} training losses in all "
            f"({n_train} in {study.training.epochs} epochs) and could never meet its trigger: lower it"
        )
    return {
        "study": study.name,
        "samples": f"{len(samples)} ({len(pool)} pool, {len(samples) - len(pool)} test)",
        "noisy labels": int((pool["label_status"] == "random").sum()),
        **({"canaries": int(pool["canary"].notna().sum())} if "canary" in pool else {}),
        "models": f"{study.shadows.models}, each trained on {n_train} samples",
        "steps": f"{max(points.values())} ({steps_per_epoch(study.training, n_train)} per epoch), "
        f"{len(points)} checkpoints{'' if trigger is None else ' and one where a model meets its trigger'}",
        **({"without PSMI": f"labels of one training sample, by split seed: {alone}"} if alone else {}),
        **_check_tokens(study, samples),
    }


def _check_images(study: Study, samples: "pd.DataFrame") -> None:
    """Whether images are large enough for what is to be done with them."""
    from memo_assets.data.images import image_shape

    _, height, width = image_shape(samples)
    augmentation, queries = study.training.augmentation, study.labels.queries
    wanted = {
        "training.augmentation.shift": augmentation.shift if augmentation else 0,
        "labels.queries.shift": queries.shift if queries else 0,
        "model.kind wide_resnet, which halves images twice,": study.model.min_side - 1
        if study.model.kind == "wide_resnet"
        else 0,
    }
    for what, most in wanted.items():
        if most >= min(height, width):
            raise ValueError(
                f"{what} takes images with sides of more than {most} pixels; these have {height} x {width}"
            )


def _check_tokens(study: Study, samples: "pd.DataFrame") -> dict[str, object]:
    """Tokenize all samples if the tokenizer is on this machine; a study that makes its model has none before."""
    from huggingface_hub import try_to_load_from_cache

    if study.model.kind != "pretrained":
        return {}
    assert study.prompt is not None
    name, revision, limit = study.model.name, study.model.revision, study.training.max_length
    there = Path(name).is_dir() or isinstance(
        try_to_load_from_cache(name, "config.json", revision=revision), str
    )
    if there:  # only now what takes seconds to import
        from memo_assets.data.tokens import tokenize
        from memo_assets.models.base import local_tokenizer

        tokenizer = local_tokenizer(name, revision)
        if tokenizer is not None:
            made = tokenize(samples, tokenizer, scoring=study.prompt.scoring, max_length=limit)
            text = f"{made.lengths.mean():.0f} on average, {made.lengths.max()} at most, before the answer"
            if limit is not None:
                cut = samples["sample_id"][made.cut]
                first = f", the first of sample {cut.iloc[0]}" if len(cut) else ""
                text += f"; {len(cut)} of {len(samples)} prompts lose their beginning to max_length = {limit}{first}"
            return {"tokens": text}
    return {
        "tokens": f"not counted, for the tokenizer of {name} is not on this machine; memo fetch brings it"
    }
