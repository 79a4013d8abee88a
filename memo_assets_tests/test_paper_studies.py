"""The studies of the paper: the published recipe, pools, splits and steps, and what a cluster would get."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from memo_assets.analysis.published import PUBLISHED
from memo_assets.cli import app
from memo_assets.config.data import SPLIT_PIECE
from memo_assets.data.errors import DataMissingError
from memo_assets.data.splits import pool_and_test, split_mask, training_positions
from memo_assets.study import load_study
from memo_assets.study_check import check_study
from memo_assets.training.schedule import checkpoint_steps, learning_rate, steps_per_epoch

ORACLE = np.load(Path(__file__).parent / "oracles" / "splits_noise.npz")
MISTRAL = "mistralai/Mistral-7B-v0.1"
# study, base model, rows of the splits that are not cut, pool, test, steps per epoch
PAPER = [
    ("arc_mistral", MISTRAL, 1172, 2000, 250, 250),
    ("ethics_mistral", MISTRAL, 3964, 15880, 1985, 1985),
    ("mmlu_mistral", MISTRAL, 0, 30000, 3750, 3750),
    ("mmlu_llama", "meta-llama/Llama-2-7b-hf", 0, 30000, 3750, 3750),
    ("mmlu_gemma", "google/gemma-7b", 0, 30000, 3750, 3750),
]
NAMES = [row[0] for row in PAPER]
WITH_CHOICES = {"arc_mistral", "mmlu_mistral", "mmlu_llama", "mmlu_gemma"}


@pytest.mark.parametrize("paper", PAPER, ids=NAMES)
def test_pool_test_and_steps_are_the_published_ones(paper: tuple[str, str, int, int, int, int]) -> None:
    name, model, uncut, pool, test, steps = paper
    study = load_study(name)
    assert study.data.source == "hub"
    assert study.model.kind == "pretrained"
    assert (study.model.name, study.model.dtype) == (model, "bf16")
    firsts = [SPLIT_PIECE.fullmatch(piece) for piece in study.data.splits]
    n = uncut + sum(int(piece[2]) for piece in firsts if piece is not None and piece[2])
    parts = pool_and_test(n)
    assert (len(parts[0]), len(parts[1])) == (pool, test)
    n_train = len(split_mask(pool, study.shadows.train_share, 0))
    assert n_train == pool // 2
    assert steps_per_epoch(study.training, n_train) == steps
    points = checkpoint_steps(study.training, n_train)
    assert [points[e] for e in (0, 0.2, 0.4, 0.6, 0.8, 1)] == [k * steps // 5 for k in range(6)]
    assert [points[e] for e in range(1, 11)] == [e * steps for e in range(1, 11)]


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_is_the_published_one(name: str) -> None:
    study = load_study(name)
    recipe, lora = study.training, study.lora
    assert (recipe.batch_size, recipe.accumulation, recipe.epochs, recipe.max_length) == (2, 2, 10, 512)
    assert (recipe.weight_decay, recipe.max_grad_norm, recipe.loss) == (0.0, 1.0, "answer")
    # Five steps of warm-up, then falling to 0, as the library trains by default.
    rates = [learning_rate(recipe, step, 2500) for step in (0, 1, 5, 2500)]
    assert rates == pytest.approx([0, 0.5e-5, 2.5e-5, 0])
    assert len(recipe.checkpoints) == 15
    assert lora is not None
    assert (lora.rank, lora.alpha, lora.dropout) == (8, 16, 0.5)
    assert len(lora.targets) == 8
    assert "lm_head" in lora.targets
    assert (study.noise.share, study.data_seed) == (0.03334, 0)
    assert (study.shadows.models, study.shadows.train_share, study.shadows.audited) == (100, 0.5, [0])
    assert study.prompt is not None
    assert len(study.prompt.templates) == 10
    assert [len(opening.templates) for opening in study.prompt.openings] == [5] * (name == "ethics_mistral")


def test_splits_of_arc_are_those_of_the_published_code() -> None:
    study = load_study("arc_mistral")
    pool, test = pool_and_test(1078 + 1172)
    np.testing.assert_array_equal(pool, ORACLE["arc_train_global_index"])
    np.testing.assert_array_equal(test, ORACLE["arc_test_global_index"])
    for seed in range(5):
        mask = split_mask(len(pool), study.shadows.train_share, seed)
        np.testing.assert_array_equal(mask, ORACLE["split_idx"][seed])


def test_they_are_the_studies_that_published_figures_are_kept_of() -> None:
    assert set(NAMES) == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_the_check_passes_before_the_data_are_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from memo_assets.data import items

    def missing(_: object) -> None:
        raise DataMissingError("data set x is not on this machine: run `memo fetch STUDY`")

    monkeypatch.setattr(items, "load_hub", missing)
    facts = check_study(name)
    assert str(facts["data"]).startswith("not checked: data set x is not on this machine")


@pytest.mark.parametrize("name", NAMES)
def test_a_cluster_gets_one_task_per_model_with_a_gpu(name: str) -> None:
    shown = CliRunner().invoke(app, ["slurm", "preview", name])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert [line for line in lines if line.startswith(f"# {name}/")] == [
        f"# {name}/base_model: 1 task",
        f"# {name}/audit: 1 task",
        *[
            f"# {name}/{step}: 100 tasks of up to 1 split seed; the first seed 0, the last seed 99"
            for step in ("adapters", "logits")
        ],
        *[
            f"# {name}/{step}: 1 task of up to 1 split seed; the first seed 0, the last seed 0"
            for step in ("layer_scores", *(["answer_variation"] if name in WITH_CHOICES else []))
        ],
    ]
    assert lines.count("#SBATCH --gres=gpu:1") == (6 if name in WITH_CHOICES else 5)
    assert sum(line.startswith("#SBATCH --array=0-99") for line in lines) == 2


def test_the_vision_study_has_the_published_recipe() -> None:
    study = load_study("cifar10")
    recipe, labels = study.training, study.labels
    assert study.model.kind == "wide_resnet"
    assert (study.model.depth, study.model.width) == (16, 4)
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.epochs) == ("sgd", 0.1, 0.9, 300)
    assert recipe.augmentation is not None
    assert (recipe.augmentation.flip, recipe.augmentation.shift) == (True, 4)
    assert recipe.trigger is not None
    assert (recipe.trigger.window, recipe.trigger.drop) == (500, 0.95)
    assert (labels.attack, labels.eta) == ("loo_lira", 4)
    assert labels.queries is not None
    assert len(labels.queries.offsets) == 18
    assert study.canaries is not None
    assert (study.canaries.kind, study.canaries.count, study.noise.share) == ("ood", 500, 0)
    assert (study.shadows.models, study.shadows.membership) == (64, "paired")
    clean = load_study("cifar10_kindclean")
    assert clean.model_dump(exclude={"name", "title", "canaries"}) == study.model_dump(
        exclude={"name", "title", "canaries"}
    )
    assert clean.canaries is not None
    assert clean.canaries.kind == "clean"


def test_each_image_of_cifar10_is_in_exactly_half_of_the_models() -> None:
    study, counts = load_study("cifar10"), np.zeros(50_000, dtype=int)
    for seed in study.seeds:
        rows = training_positions(
            50_000, study.shadows.train_share, seed, membership=study.shadows.membership
        )
        assert len(np.unique(rows)) == 25_000
        counts[rows] += 1
    assert (counts == 32).all()
    assert steps_per_epoch(study.training, 25_000) == 98


def test_the_vision_study_is_checked_and_previewed_before_the_data_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert str(check_study("cifar10")["data"]).startswith("not checked: data set uoft-cs/cifar10 is not in")
    shown = CliRunner().invoke(app, ["slurm", "preview", "cifar10"])
    assert shown.exit_code == 0, shown.output
    heads = [line for line in shown.output.splitlines() if line.startswith("# cifar10/")]
    assert heads == [
        "# cifar10/audit: 1 task",
        "# cifar10/adapters: 16 tasks of up to 4 split seeds; the first seeds 0 to 3 (4), the last seeds 60 to 63 (4)",
        "# cifar10/logits: 16 tasks of up to 4 split seeds; the first seeds 0 to 3 (4), the last seeds 60 to 63 (4)",
        "# cifar10/layer_scores: 1 task of up to 1 split seed; the first seed 0, the last seed 0",
    ]
