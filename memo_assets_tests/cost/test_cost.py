"""Estimates against values worked out by hand, and against what a model really has."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from memo_assets.cli import app
from memo_assets.cost.calibrate import calibrate
from memo_assets.cost.estimate import ModelSize, StudySize, estimate
from memo_assets.cost.report import cost_lines
from memo_assets.cost.sizes import Given, find_sizes
from memo_assets.study import load_study
from memo_assets.study_file import StudyError
from memo_assets_tests.data.pictures import colours, save_pictures, settings
from memo_assets_tests.models.plain_wide_resnet import Plain
from memo_assets_tests.studies import CITIES, DIGITS, study

SIZE = StudySize(
    samples=100, n_train=40, tokens=10, n_options=4, models=5, audited=1, epochs=3, steps=30, checkpoints=4
)


def test_operations_tokens_and_bytes_by_hand() -> None:
    frozen = ModelSize(total=1600, body=1000, output=500, trained=20, is_frozen=True)
    cost = estimate(SIZE, frozen)
    forward = 2 * (1000 * 10 + 500)  # the output module sees one position of ten
    assert cost.train_flops == 5 * 3 * 40 * (2 * forward + 3 * 2 * 20 * 10)
    # Five models at three checkpoints, the base model once; hidden states of 40 training samples at four.
    read = (5 * 3 + 1) * 100 + 4 * 40
    assert cost.forward_flops == read * (forward + 2 * 20 * 10)
    assert (cost.train_tokens, cost.forward_tokens) == (5 * 3 * 40 * 10, read * 10)
    assert cost.checkpoint_bytes == 5 * 4 * 20 * 4
    assert cost.logits_bytes == 5 * 4 * 100 * (32 + 16)
    assert cost.device_hours(1e-9) == pytest.approx(cost.flops / 1000 / 3600)
    scratch = ModelSize(total=1000, body=1000, output=0, trained=1000, is_frozen=False)
    assert estimate(SIZE, scratch).train_flops == 5 * 3 * 40 * 3 * 2 * 1000 * 10
    # Networks from scratch differ before training too.
    assert estimate(SIZE, scratch).forward_flops == (5 * 4 * 100 + 4 * 40) * 2 * 1000 * 10
    counted = ModelSize(total=1000, body=1000, output=0, trained=1000, is_frozen=False, multiply_adds=70_000)
    assert estimate(SIZE, counted).train_flops == 5 * 3 * 40 * 3 * 2 * 70_000
    assert estimate(SIZE, counted).checkpoint_bytes == 5 * 4 * 1000 * 4


def test_sizes_of_a_network_are_those_of_its_layers() -> None:
    sizes = find_sizes(study(DIGITS), Given())
    assert sizes.model.total == 64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    assert (sizes.study.samples, sizes.study.n_train, sizes.study.tokens) == (90, 40, 1)


def test_a_wide_resnet_costs_its_multiply_adds() -> None:
    wide = study(DIGITS, {"model": {"kind": "wide_resnet", "depth": 16, "width": 2}})
    size = find_sizes(wide, Given()).model
    plain, seen = Plain(16, 2, (1, 8, 8), 10), []

    def count(module: nn.Conv2d, _given: object, out: Tensor) -> None:
        seen.append(out.numel() * module.weight[0].numel())

    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)  # pyright: ignore[reportArgumentType]
    plain(torch.rand(1, 64))
    head = 128 * 10
    assert size.multiply_adds is not None
    assert size.multiply_adds == sum(seen) + head
    assert size.total == size.trained == sum(weight.numel() for weight in plain.parameters())
    # A convolution uses its weights at every pixel.
    assert size.multiply_adds > 5 * size.total


def test_a_trigger_is_one_more_checkpoint_to_keep_and_to_run() -> None:
    plain, with_trigger = (
        find_sizes(study(DIGITS, changes), Given()).study
        for changes in ({}, {"training.trigger": {"window": 20}})
    )
    assert (plain.checkpoints, with_trigger.checkpoints) == (3, 4)


def test_sizes_of_images_in_colour_with_test_samples_of_their_own(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "pictures", {"train": colours(60, 0), "test": colours(30, 1)})
    of = study(DIGITS, {"data": settings(folder, test_splits=["test"])})
    sizes = find_sizes(of, Given())
    assert sizes.model.total == 3 * 4 * 5 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3
    assert (sizes.study.samples, sizes.study.n_train, sizes.study.queries) == (90, 30, 1)
    mirrored = study(DIGITS, {"data.items": 90, "labels.queries": {"shift": 1, "flip": True}})
    assert find_sizes(mirrored, Given()).study.queries == 18
    assert find_sizes(of, Given(samples=900)).study.n_train == 300
    nowhere = study(DIGITS, {"data": settings(Path("nobody/nothing"))})
    with pytest.raises(
        StudyError, match=r"memo fetch STUDY.*; without the data, the size of its images is unknown"
    ):
        find_sizes(nowhere, Given(samples=900, tokens=1))


def test_a_real_model_has_the_parameters_it_is_named_after() -> None:
    sizes = find_sizes(load_study("smollm2_cities"), Given())
    assert sizes.model.total == 134_515_008
    # The output module is tied to the embeddings: 49,152 tokens of width 576.
    assert sizes.model.output == 49_152 * 576 == sizes.model.total - sizes.model.body
    # Rank 16 on seven projections of 30 layers; keys and values have width 192, the inner layer 1,536.
    assert sizes.model.trained == 30 * 16 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    assert sizes.study.n_train == 400
    assert 8 < sizes.study.tokens < 11
    # 4.4 GB lay on disk after the run.
    assert estimate(sizes.study, sizes.model).checkpoint_bytes == pytest.approx(4.0e9, rel=0.05)


def test_calibration_times_the_study_s_own_steps() -> None:
    small = study({**CITIES, "lora": {"rank": 2, "alpha": 4.0}, "compute": {"pack": 2}})
    sizes = find_sizes(small, Given())
    measured = calibrate(small, sizes)
    assert (measured.pack, measured.device) == (2, "cpu")
    assert measured.step_seconds > 0
    assert measured.sample_seconds > 0
    one, two = measured.hours(sizes, 1), measured.hours(sizes, 2)
    assert (
        one > two > one / 2.5
    )  # two packs of two models, side by side; the audited model's scores are not shared out
    with pytest.raises(StudyError, match="a calibration needs a language study"):
        calibrate(study(DIGITS), find_sizes(study(DIGITS), Given()))


def test_what_is_not_here_may_be_stated_and_is_asked_for() -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["study", "cost", "mmlu_mistral"])
    assert found.exit_code == 1
    assert "memo fetch" in found.output
    assert "--samples" in found.output
    found = runner.invoke(app, ["study", "cost", "mmlu_mistral", "--samples", "33750", "--tokens", "150"])
    assert "state --parameters, such as 7.24e9" in found.output
    stated = Given(samples=33750, tokens=150, parameters=7.24e9)
    lines = cost_lines(load_study("mmlu_mistral"), stated, tflops=100, with_calibration=False)
    assert lines["samples"] == "33,750; each of 100 models trains on 15,000"
    # By hand: 100 models x 10 epochs x 15,000 samples x 150 tokens x 4 x 7.24e9, and
    # (100 models x 14 checkpoints + the base model) x 33,750 samples and 15 checkpoints x 15,000 training samples of the
    # audited one, x 150 tokens x 2 x 7.24e9.
    assert "6.52e+19 of training, 1.03e+20 of forward passes" in lines["operations"]
    assert lines["device hours"] == "467.64 at 100 TFLOP/s"
