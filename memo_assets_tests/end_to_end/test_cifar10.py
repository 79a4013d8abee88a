"""The paper's vision study from raw data to report at toy size, as its file stands but for sizes and place of the data."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from memo_assets.analysis.facts import facts
from memo_assets.analysis.frames import Subject
from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.measures.lira import log_lira_loo
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import study_state
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets.study import load_study
from memo_assets_tests.data.pictures import picture, save_pictures
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.models.plain_wide_resnet import Plain

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def toy(folder: Path) -> Study:
    """Handwritten digits in random colours stand for the ten classes; a smaller network, fewer models and epochs."""
    pixels, digits = (np.asarray(part) for part in load_digits(return_X_y=True))
    tints = np.random.default_rng(0).uniform(0.5, 1, (len(pixels), 1, 1, 3))
    rows = [
        (picture(image), int(digit))
        for image, digit in zip(pixels.reshape(-1, 8, 8, 1) / 16 * 255 * tints, digits, strict=True)
    ]
    splits = {"train": rows[:300], "test": rows[300:360]}
    settings = load_study("cifar10").model_dump()
    settings["data"] |= {
        "name": str(save_pictures(folder, splits, ClassLabel(names=CLASSES))),
        "config": None,
    }
    settings["canaries"]["count"] = 30
    settings["model"] |= {"depth": 10, "width": 1}
    settings["training"] |= {"batch_size": 25, "epochs": 10, "checkpoints": [0, 1, 5, 10], "augmentation": {"flip": True, "shift": 1}}  # fmt: skip
    settings["training"]["trigger"] |= {"window": 50, "drop": 0.5}
    settings["shadows"] |= {"models": 12, "block": 6}
    settings["labels"] |= {"eta": 0.5, "queries": {"shift": 1, "flip": True}}
    settings["scores"] |= {"psmi_directions": 50, "smi_directions": 2}
    settings["compute"] |= {"device": "cpu", "pack": 6, "workers": 2, "threads": 1}
    return Study.model_validate(settings)


def test_the_vision_study_of_the_paper_runs_from_raw_data_to_report(
    tmp_path: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "warehouse" / "dagster_home"))
    study, recorder = toy(tmp_path / "pictures"), Recorder()
    definitions = build_defs([study], {"observer": recorder, "executor": executor})
    with open_instance() as instance:
        bring_up_to_date(study, definitions, instance, recorder)
        assert all(not state.todo for state in study_state(study, definitions, instance))
    layout = Layout.of("cifar10")
    with reading() as connection:
        subject = Subject(connection, study, 0)
        known, trigger = facts(subject), subject.prediction_epoch
        exact = connection.execute(
            "SELECT epoch FROM checkpoints WHERE split_seed = 0 AND is_trigger"
        ).fetchall()
        labels = connection.execute(
            "SELECT sample_id, score, memorized FROM memorization WHERE epoch = 10 ORDER BY sample_id"
        ).df()
    assert exact == [(trigger,)]
    assert known.test_accuracy > 0.25  # chance: .1
    assert known.canaries_in_top is not None
    assert known.canaries_in_top > labels["memorized"].mean(), "canaries are not memorized more than others"
    for figure in ("figure_canaries", "figure_roc_by_eta", "figure_auc_by_eta"):
        assert layout.figure(figure, "html").is_file()
    _check_membership(layout)
    _check_labels(layout, labels["score"].to_numpy(), labels["memorized"].to_numpy())
    _check_against_a_plain_network(layout)


def _check_membership(layout: Layout) -> None:
    masks = [pq.read_table(layout.split_mask(seed)).column("sample_id").to_numpy() for seed in range(12)]
    assert {len(mask) for mask in masks} == {150}
    np.testing.assert_array_equal(np.bincount(np.concatenate(masks), minlength=300), 6)


def _check_labels(layout: Layout, scores: np.ndarray, memorized: np.ndarray) -> None:
    """Labels are leave-one-out LiRA over all queries of all models, with eta as the threshold."""
    gaps, member = np.empty((300, 12, 18)), np.zeros((300, 12), dtype=bool)
    for seed in range(12):
        rows = pq.read_table(layout.logits(seed)).to_pandas()
        rows = rows[(rows["epoch"] == 10) & (rows["sample_id"] < 300)]
        gaps[rows["sample_id"], seed] = np.stack(rows["query_gaps"].to_list())
        member[pq.read_table(layout.split_mask(seed)).column("sample_id").to_numpy(), seed] = True
    expected = log_lira_loo(gaps, member)[member[:, 0], 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(memorized, expected >= 0.5)


def _check_against_a_plain_network(layout: Layout) -> None:
    """The stored logits of a trained model are those of an ordinary network with its weights and statistics."""
    plain = Plain(10, 1, (3, 8, 8), 10)
    missing, strange = plain.load_state_dict(
        load_file(layout.adapter(7, 10) / "model.safetensors"), strict=False
    )
    assert not strange
    assert all(name.endswith("num_batches_tracked") for name in missing)
    samples = pq.read_table(layout.samples).to_pandas()
    images = torch.from_numpy(np.stack(samples["image"].to_list()))
    with torch.no_grad():
        expected, _ = plain.eval()(images)
    rows = pq.read_table(layout.logits(7)).to_pandas()
    found = np.stack(rows.loc[rows["epoch"] == 10, "option_logits"].to_list())
    np.testing.assert_allclose(found, expected, atol=1e-4)
