"""Checks of the trained models: their weights, and the losses of their training.

What belongs here: what can be told from checkpoints and training logs, without torch. What does not: what the models
answer (`logits`).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from memo_assets.checks.verdict import Verdict, not_judged, seeds_named, span
from memo_assets.config import Training
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout


def weights_changed(layout: Layout, training: Training, seeds: Sequence[int]) -> Verdict:
    """Whether the weights of every model are finite at the last checkpoint, and other than at step 0.

    Tensor by tensor, so that no model is in memory as a whole. A model in which no value has changed fails; how many
    tensors of a model have not changed at all is among the facts.

    Args:
        layout: where the checkpoints lie.
        training: the recipe, whose first and last checkpoints are read.
        seeds: split seeds to judge.
    """
    if not seeds:
        return not_judged("no adapters have been recorded")
    wrong: dict[str, list[int]] = {}
    still: list[float] = []
    for seed in sorted(seeds):
        start, end = (layout.adapter(seed, training.checkpoints[place]) for place in (0, -1))
        fault, unchanged = _compared(start, end)
        still.append(unchanged)
        if fault:
            wrong.setdefault(fault, []).append(seed)
    facts = {"models": len(still), "share_of_unchanged_tensors": max(still)}
    if wrong:
        problems = [f"{fault}: {seeds_named(of)}" for fault, of in wrong.items()]
        return Verdict(
            passed=False,
            sentence=f"{'; '.join(problems)}. Expected finite weights that training has changed: look at "
            "training.learning_rate and model.dtype, and train these seeds again",
            facts=facts,
            seeds=tuple(sorted(seed for of in wrong.values() for seed in of)),
        )
    return Verdict(
        passed=True,
        sentence=f"weights of {len(still)} models: finite, and other at the last checkpoint than at step 0",
        facts=facts,
    )


def _compared(start: Path, end: Path) -> tuple[str, float]:
    """What is wrong with a model's last weights, or nothing; and the share of tensors that have not changed."""
    from safetensors import SafetensorError

    unchanged, n = 0, 0
    try:
        for before, after in _tensors(start, end):
            if not np.isfinite(after).all():
                return "weights that are not finite", 0.0
            unchanged, n = unchanged + np.array_equal(before, after), n + 1
    except (SafetensorError, FileNotFoundError):
        return "weights that are not there or cannot be read", 0.0
    if n == 0:
        return "weights that are not there or cannot be read", 0.0
    return "weights that are those of step 0" if unchanged == n else "", unchanged / n


def _tensors(start: Path, end: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every tensor of a model at two checkpoints.

    Raises:
        SafetensorError: a file is damaged, or has not the tensors of the other.
        FileNotFoundError: a file is not there.
    """
    from safetensors import safe_open

    for file in sorted(end.glob("*.safetensors")):
        with ExitStack() as stack:
            before, after = (
                stack.enter_context(safe_open(path, framework="numpy")) for path in (start / file.name, file)
            )
            for name in after.keys():  # noqa: SIM118 - not a mapping
                yield before.get_tensor(name), after.get_tensor(name)


def loss_fell(layout: Layout, training: Training, seeds: Sequence[int]) -> Verdict:
    """Whether every model's mean training loss was lower before its last checkpoint than before its first one after 0.

    Args:
        layout: where the training logs lie.
        training: the recipe, whose checkpoints count; those at a model's own trigger do not.
        seeds: split seeds to judge.
    """
    if not seeds:
        return not_judged("no adapters have been recorded")
    epochs = training.checkpoints[1], training.checkpoints[-1]
    if epochs[0] == epochs[1]:
        return not_judged(
            "training.checkpoints names none between 0 and the last epoch, so no two losses can be compared"
        )
    seeds = sorted(seeds)
    losses = np.array([_losses(read_json(layout.training_log(seed)), epochs) for seed in seeds])
    with np.errstate(invalid="ignore"):
        fell = losses[:, 1] < losses[:, 0]  # not where one is nan
    bad = [seed for seed, good in zip(seeds, fell, strict=True) if not good]
    facts = {
        "models": len(seeds),
        "models_whose_loss_did_not_fall": len(bad),
        **{
            name: float(value)
            for name, value in zip(("first_mean_loss", "last_mean_loss"), losses.mean(axis=0), strict=True)
            if math.isfinite(value)
        },
    }
    if bad:
        return Verdict(
            passed=False,
            sentence=f"the mean training loss did not fall between the epochs {epochs[0]:g} and {epochs[1]:g}: "
            f"{seeds_named(bad)}. Look at training.learning_rate and the labels before spending time on these models",
            facts=facts,
            seeds=tuple(bad),
        )
    return Verdict(
        passed=True,
        sentence=f"mean training loss of {len(seeds)} models: {span(losses[:, 0])} until epoch {epochs[0]:g}, "
        f"{span(losses[:, 1])} before epoch {epochs[1]:g}",
        facts=facts,
    )


def _losses(log: dict[str, Any], epochs: tuple[float, float]) -> list[float]:
    """Mean training losses before two checkpoints; nan where there is none."""
    found = {entry["epoch"]: entry["train_loss_mean"] for entry in log["checkpoints"]}
    return [math.nan if found.get(epoch) is None else float(found[epoch]) for epoch in epochs]
