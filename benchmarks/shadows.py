"""Fewer shadow models, same labels? How each attack's labels on `digits` settle with the number of shadow models.

    python -m benchmarks.shadows [--models 512] [--targets 8] [--draws 10]

Hundreds of models of the study `digits` are trained (without augmented queries). Of each target, half of the other models
give reference scores by online LiRA; from the other half m models are drawn, again and again, and every attack scores the
target's training samples by these alone. Compared with the reference: rank correlation, and the share of its top 10 % that
is found. No model is ever on both sides.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.harness import write_result
from memo_assets.compute.inputs import make_network
from memo_assets.config import Mlp, Study, Training
from memo_assets.data.images import image_shape
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples
from memo_assets.data.splits import training_positions
from memo_assets.measures.attacks import ATTACKS, Outputs
from memo_assets.measures.evaluation import memorized_labels
from memo_assets.measures.lira import logit_gap
from memo_assets.measures.stability import agreement
from memo_assets.study_file import load_study
from memo_assets.training.forward import forward
from memo_assets.training.loop import train
from memo_assets.training.vision import VisionTask

PACK = 64
COMPARED = (
    "online_lira",
    "online_lira_fixed_variance",
    "offline_lira",
    "offline_lira_fixed_variance",
    "rmia",
    "offline_rmia",
)


def outputs(study: Study, n_models: int) -> Outputs:
    """Train models of a study of images and run them forward at their end."""
    samples = build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    pool = np.flatnonzero(samples["part"] == "pool")
    images = np.stack(samples["image"].to_list(), dtype=np.float32)
    given = samples["given_index"].to_numpy().astype(np.int64)
    last = float(study.training.epochs)
    recipe = Training.model_validate(
        study.training.model_dump() | {"trigger": None, "checkpoints": [0.0, last]}
    )
    gaps, losses = [], []
    inside = np.zeros((n_models, len(pool)), dtype=bool)
    assert isinstance(study.model, Mlp)
    for first in range(0, n_models, PACK):
        seeds = range(first, min(first + PACK, n_models))
        places = np.stack(
            [
                training_positions(
                    len(pool), study.shadows.train_share, seed, membership=study.shadows.membership
                )
                for seed in seeds
            ]
        )
        inside[np.array(seeds)[:, None], places] = True
        network = make_network(study.model, samples, seeds)
        task = VisionTask(network, images, given, image_shape=image_shape(samples))
        with tempfile.TemporaryDirectory() as folder:
            train(
                task,
                pool[places],
                recipe,
                state_path=Path(folder) / "training.safetensors",
                on_checkpoint=lambda *_: None,
            )
        made = forward(task)
        gaps.append(logit_gap(made.option_logits, given))
        losses.append(made.loss)
        print(f"{seeds[-1] + 1} of {n_models} models trained", flush=True)
    all_gaps, all_losses = (
        np.concatenate(gaps).astype(np.float64),
        np.concatenate(losses).astype(np.float64),
    )
    test = np.flatnonzero(samples["part"] == "test")
    return Outputs(all_gaps[:, pool], all_losses[:, pool], all_losses[:, test], inside)


def settled(of: Outputs, targets: Sequence[int], draws: int) -> pd.DataFrame:
    """attack, n_shadows, target, draw, agreement (share of the top 10 % found), spearman, scored."""
    n_models = len(of.in_train)
    sizes = [2**power for power in range(2, 12) if 2**power <= (n_models - 1) // 2]
    rows = []
    for target in targets:
        member = of.in_train[target]
        others = np.delete(np.arange(n_models), target)
        for draw in range(draws):
            drawn = np.random.default_rng([target, draw]).permutation(others)
            half = len(drawn) // 2

            def scores(attack: str, models: np.ndarray, target: int = target, member: np.ndarray = member):
                subset = of.of_models(np.array([target, *np.sort(models)]))
                return ATTACKS[attack].scores(subset, 0)[member]

            reference = scores("online_lira", drawn[half:])
            for size in sizes:
                for attack in COMPARED:
                    found = agreement(scores(attack, drawn[:size]), reference, memorized_labels)
                    rows.append(
                        {"attack": attack, "n_shadows": size, "target": target, "draw": draw, **found}
                    )
        print(f"target {target} compared", flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Train, compare, print medians and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=512)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("digits")
    of = outputs(study, arguments.models)
    found = settled(of, range(arguments.targets), arguments.draws)
    medians = (
        found.groupby(["attack", "n_shadows"], sort=False)[["agreement", "spearman", "scored"]]
        .median()
        .reset_index()
    )
    print(medians.pivot_table(index="n_shadows", columns="attack", values="agreement").round(3).to_string())
    print(medians.pivot_table(index="n_shadows", columns="attack", values="spearman").round(3).to_string())
    n_reference = arguments.models - 1 - (arguments.models - 1) // 2
    write_result(
        "shadows",
        models=arguments.models,
        targets=arguments.targets,
        draws=arguments.draws,
        reference=f"online LiRA by {n_reference} other models",
        medians=medians.to_dict("records"),
    )


if __name__ == "__main__":
    main()
