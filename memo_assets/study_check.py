"""Checking a study as far as that goes without training: settings, data, splits, steps."""

from pathlib import Path

from memo_assets.config import Study
from memo_assets.study_file import StudyError, load_study


def check_study(name_or_path: str | Path) -> dict[str, object]:
    """Check a study file and its data.

    Args:
        name_or_path: a `defs.yaml`, its folder, or the name of a built-in study.

    Returns:
        Facts for the reader: samples, splits, steps.

    Raises:
        StudyError: the file is invalid, or its data or recipe cannot be used; the message says what to change.
    """
    study = load_study(name_or_path)
    try:
        return _check_data(study)
    except (ValueError, OSError) as error:
        raise StudyError(f"study {study.name}: {error}") from error


def _check_data(study: Study) -> dict[str, object]:
    from memo_assets.data.items import load_items
    from memo_assets.data.samples import build_samples
    from memo_assets.data.splits import split_mask
    from memo_assets.training.schedule import checkpoint_steps, steps_per_epoch

    items = load_items(study.data, study.data_seed, Path.cwd())
    samples = build_samples(items, study)
    pool = samples[samples["part"] == "pool"]
    n_train = int(study.shadows.train_share * len(pool))
    if not n_train:
        raise ValueError(
            f"shadows.train_share = {study.shadows.train_share} of a pool of {len(pool)} samples leaves none to train "
            "on; raise it"
        )
    for seed in study.shadows.audited:
        labels = pool["given_label"].iloc[split_mask(len(pool), study.shadows.train_share, seed)]
        counts = labels.value_counts().sort_index()
        if len(counts) < 2 or counts.min() < 2:
            raise ValueError(
                f"split seed {seed} trains on {counts.to_dict()} (samples by label), and scoring it takes two labels and "
                "two samples of each: give more data, raise shadows.train_share, or audit another split seed"
            )
    points = checkpoint_steps(study.training, n_train)
    return {
        "study": study.name,
        "samples": f"{len(samples)} ({len(pool)} pool, {len(samples) - len(pool)} test)",
        "noisy labels": int((pool["label_status"] == "random").sum()),
        "models": f"{study.shadows.models}, each trained on {n_train} samples",
        "steps": f"{max(points.values())} ({steps_per_epoch(study.training, n_train)} per epoch), "
        f"{len(points)} checkpoints",
    }
