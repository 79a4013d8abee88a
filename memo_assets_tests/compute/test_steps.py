"""What a worker leaves on disk when it is killed or does the same work again; run here, in the tests' own process."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from memo_assets.compute import steps
from memo_assets.compute.items import ItemResult, WorkItem
from memo_assets.compute.worker import main
from memo_assets.config import Queries, Study
from memo_assets.measures.lira import logit_gap
from memo_assets.models.packed_mlp import PackedMlp
from memo_assets.models.packed_wide_resnet import PackedWideResNet
from memo_assets.store.files import content_hash, read_json, replace_folder, write_json
from memo_assets.store.layout import Layout
from memo_assets.training.forward import forward
from memo_assets.training.vision import VisionTask
from memo_assets_tests.data.pictures import colours, save_pictures, settings

from .small_items import item, small_study, write_inputs


class KilledError(BaseException):
    """Like SIGKILL: nothing of the worker's own code runs after it."""


def compute(given: WorkItem) -> ItemResult:
    write_json(given.folder / "item.json", given.model_dump(mode="json"))
    main(given.folder / "item.json")
    return ItemResult.model_validate(read_json(given.folder / "result.json"))


def adapters(warehouse: Path) -> WorkItem:
    return item(warehouse, small_study(), "adapters", [0, 1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ItemResult]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    write_inputs(warehouse, small_study())
    return warehouse, compute(adapters(warehouse))


def test_doing_the_same_again_mends_what_was_lost(undisturbed: tuple[Path, ItemResult]) -> None:
    warehouse, before = undisturbed
    layout = Layout(warehouse, "tiny")
    for path in layout.adapter(0, 1).iterdir():
        path.unlink()
    layout.adapter(0, 1).rmdir()
    for path in layout.adapter(1, 2).iterdir():
        path.write_bytes(b"broken")
    after = compute(adapters(warehouse))
    assert after.error is None
    assert after.seeds == before.seeds
    for seed in (0, 1):
        folders = [layout.adapter(seed, epoch) for epoch in (0, 1, 2)]
        assert content_hash(*folders) == before.seeds[seed].data_version


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_kill_while_folders_are_moved_is_made_good(
    undisturbed: tuple[Path, ItemResult], warehouse: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    write_inputs(warehouse, small_study())
    given = adapters(warehouse)
    done: list[Path] = []

    def killed(new: Path, final: Path) -> None:
        if len(done) == moved:
            raise KilledError
        replace_folder(new, final)
        done.append(final)
        if moved == 2 and len(done) == 2:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(steps, "replace_folder", killed)
        with pytest.raises(KilledError):
            compute(given)
    assert [path.name for path in done] == ["seed=0", "seed=1"][:moved]
    assert not (given.folder / "result.json").exists()
    result = compute(given)
    assert result.error is None
    assert result.seeds == undisturbed[1].seeds
    assert not (given.folder / "made").exists()
    assert not (given.folder / "state").exists()
    for seed in (0, 1):
        assert sorted(path.name for path in Layout(warehouse, "tiny").adapters(seed).iterdir()) == [
            "epoch=0",
            "epoch=1",
            "epoch=2",
            "training.json",
        ]


def test_a_missing_gpu_is_said_before_anything_is_trained(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    study = small_study({"compute.device": "cuda"})
    write_inputs(warehouse, study)
    result = compute(item(warehouse, study, "adapters", [0]))
    assert result.error == (
        "study tiny: compute.device is cuda, but torch finds no GPU here; use auto or cpu, or run where there is one"
    )


def test_a_sample_that_alone_bears_its_label_has_no_psmi(warehouse: Path) -> None:
    study = small_study({"data.items": 36, "shadows.audited": [1]})
    write_inputs(warehouse, study)
    assert compute(item(warehouse, study, "adapters", [1])).error is None
    assert compute(item(warehouse, study, "layer_scores", [1])).error is None
    layout = Layout.of(study.name)
    scores, samples = pd.read_parquet(layout.layer_scores(1)), pd.read_parquet(layout.samples)
    given = scores["sample_id"].map(samples.set_index("sample_id")["given_label"])
    one_layer = scores["layer"].eq(1) & scores["epoch"].eq(0)
    alone = given[one_layer].map(given[one_layer].value_counts()) == 1
    assert 0 < alone.sum() < len(alone)
    np.testing.assert_array_equal(scores.loc[one_layer, "psmi"].isna(), alone)
    assert scores["mahalanobis"].notna().all()


def asked(warehouse: Path, of: Study) -> tuple[Layout, np.ndarray]:
    """The gaps [N, A] of model 1 on all queries at epoch 2, after training two models; the first is the image itself."""
    layout = write_inputs(warehouse, of)
    for given in (item(warehouse, of, "adapters", [0, 1]), item(warehouse, of, "logits", [0, 1])):
        assert compute(given).error is None
    rows = pq.read_table(layout.logits(1)).to_pandas()
    rows = rows[rows["epoch"] == 2]
    queries = np.stack(rows["query_gaps"].to_list())
    np.testing.assert_array_equal(queries[:, 0], rows["logit_gap"])
    return layout, queries


def test_queries_are_the_logits_of_shifted_images(warehouse: Path) -> None:
    of = small_study({"labels.queries": {"shift": 1}})
    layout, queries = asked(warehouse, of)
    assert queries.shape == (90, 9)
    # Up by one, by hand: the first row of pixels is gone, an empty one stands below.
    assert of.labels.queries is not None
    place = of.labels.queries.offsets.index((-1, 0, False))
    samples = pq.read_table(layout.samples).to_pandas()
    images = np.stack(samples["image"].to_list()).reshape(-1, 8, 8)
    moved = np.concatenate([images[:, 1:], np.zeros((90, 1, 8), np.float32)], axis=1).reshape(-1, 64)
    labels = samples["given_index"].to_numpy().astype(np.int64)
    task = VisionTask(PackedMlp([64, 8, 8, 10], [1]), moved, labels, image_shape=(1, 8, 8))
    task.load(0, layout.adapter(1, 2.0))
    expected = logit_gap(forward(task).option_logits[0], labels)
    np.testing.assert_allclose(queries[:, place], expected, atol=1e-5)
    assert np.abs(queries[:, place] - queries[:, 0]).max() > 0.01


def test_a_wide_resnet_goes_through_all_steps(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    changes = {
        "model": {"kind": "wide_resnet", "depth": 10, "width": 1},
        "training.optimizer": "sgd",
        "training.momentum": 0.9,
        "training.max_grad_norm": None,
        "training.augmentation": {"flip": False, "shift": 1},
        "labels.queries": {"shift": 1},
    }
    of = small_study(changes)
    layout = write_inputs(warehouse, of)
    for step, seeds in (("adapters", [0, 1]), ("logits", [0, 1]), ("layer_scores", [1])):
        result = compute(item(warehouse, of, step, seeds))  # pyright: ignore[reportArgumentType]
        assert result.error is None
    assert torch.backends.cudnn.deterministic  # as a resumed run on a GPU needs it
    network = PackedWideResNet((1, 8, 8), 10, depth=10, width=1, seeds=[1])
    network.load(0, layout.adapter(1, 2.0) / "model.safetensors")
    samples = pq.read_table(layout.samples).to_pandas()
    images = torch.from_numpy(np.stack(samples["image"].to_list()))
    logits, _ = network.eval()(images[None])
    rows = pq.read_table(layout.logits(1)).to_pandas()
    rows = rows[rows["epoch"] == 2]
    found = np.stack(rows["option_logits"].to_list())
    np.testing.assert_allclose(found, logits[0].detach().numpy(), atol=1e-4)
    assert np.stack(rows["query_gaps"].to_list()).shape == (90, 9)
    scores = pd.read_parquet(layout.layer_scores(1))
    assert sorted(scores["layer"].unique()) == [1, 2, 3]
    norms = pd.read_parquet(layout.weight_norms(1))
    assert {"conv", "groups.1.0.shortcut", "weight", "all"} <= set(norms["module"])
    last = norms[(norms["epoch"] == 2) & (norms["module"] == "all") & (norms["norm"] == "frobenius")]
    assert (last["distance"] > 0).all()


def test_mirrored_queries_of_images_in_colour(warehouse: Path) -> None:
    folder = save_pictures(warehouse / "pictures", {"train": colours(60, 0), "test": colours(12, 1)})
    wanted = settings(folder, test_splits=["test"])
    of = small_study({"data": wanted, "labels.queries": {"shift": 1, "flip": True}})
    layout, queries = asked(warehouse, of)
    assert queries.shape == (72, 18)
    # Mirrored and moved to the right by one, by hand: the last column, which was the first, is gone.
    samples = pq.read_table(layout.samples).to_pandas()
    images = np.stack(samples["image"].to_list()).reshape(72, 3, 4, 5)
    moved = np.concatenate([np.zeros((72, 3, 4, 1), np.float32), images[..., :0:-1]], axis=3).reshape(72, 60)
    labels = samples["given_index"].to_numpy().astype(np.int64)
    task = VisionTask(PackedMlp([60, 8, 8, 3], [1]), moved, labels, image_shape=(3, 4, 5))
    task.load(0, layout.adapter(1, 2.0))
    expected = logit_gap(forward(task).option_logits[0], labels)
    assert of.labels.queries is not None
    offsets = of.labels.queries.offsets
    assert offsets[:9] == Queries(shift=1).offsets
    np.testing.assert_allclose(queries[:, offsets.index((0, 1, True))], expected, atol=1e-5)
    assert np.abs(queries[:, offsets.index((0, 1, False))] - expected).max() > 0.01
