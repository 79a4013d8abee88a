"""Skewness of labels over checkpoints, sizes and similarity, by hand over a warehouse in memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import skew

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.labels import memorization
from memo_assets.analysis.skewness import (
    memorization_skewness,
    nearest_similarity,
    similarity_bins,
    skewness_points,
    subset_sizes,
)
from memo_assets.measures.skewness import MEASURES
from memo_assets_tests.analysis.shadow_study import IDS, MODELS, POOL, TEST, warehouse
from memo_assets_tests.studies import DIGITS, study

STUDY = study(DIGITS, {"shadows.models": MODELS, "shadows.audited": [0, 3], "training.checkpoints": [0, 2]})


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Images of the pool and of test; samples 0 and 3 are all but the same, test samples equal one of the pool."""
    images = np.random.default_rng(0).normal(size=(POOL + TEST, 30))
    images[1] = images[0] + 1e-4
    images[POOL:] = images[20]
    part = ["pool"] * POOL + ["test"] * TEST
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"sample_id": IDS, "part": part, "image": list(images)}), path)
    return path


@pytest.fixture
def table_and_labels(samples: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    with warehouse() as connection:
        labels = memorization(connection, STUDY)[0].assign(study="tiny")
        connection.register("given", labels)
        connection.execute("INSERT INTO memorization BY NAME SELECT * FROM given")
        table = memorization_skewness(connection, STUDY, samples)
        connection.register("given", table.assign(study="tiny"))
        connection.execute("INSERT INTO memorization_skewness BY NAME SELECT * FROM given")
        return table, labels, skewness_points(Subject(connection, STUDY, 3))


def test_all_rows_once_and_by_hand(table_and_labels: tuple):
    table, labels, points = table_and_labels
    values = table.groupby(["target_seed", "over"])["value"].nunique()
    assert values.to_dict() == {
        (seed, over): count
        for seed in (0, 3)
        for over, count in (("epoch", 2), ("similarity", 1), ("size", 1))
    }
    assert not table.duplicated(["target_seed", "over", "value", "measure"]).any()
    last = labels[(labels["target_seed"] == 3) & (labels["epoch"] == 2)]["score"].clip(-100, 100)
    of_epoch = table[(table["target_seed"] == 3) & (table["over"] == "epoch") & (table["value"] == 2)]
    found = of_epoch.set_index("measure")
    finite = last[np.isfinite(last)]
    assert found.loc["skewness", "estimate"] == pytest.approx(skew(finite, bias=False))
    assert found.loc["mean", "estimate"] == pytest.approx(finite.mean())
    assert set(found.index) == set(MEASURES)
    assert (found["n"] == len(finite)).all()
    assert (found["low"] <= found["high"]).all()
    whole = table[(table["target_seed"] == 3) & (table["over"] == "size")].set_index("measure")
    assert whole["estimate"].to_dict() == pytest.approx(
        found["estimate"].to_dict()
    )  # all samples are the last size
    assert set(points["measure"]) == {"skewness", "mean"}
    shown = points[(points["over"] == "epoch") & (points["value"] == 2) & (points["measure"] == "skewness")]
    assert shown["estimate"].item() == pytest.approx(skew(finite, bias=False))


def test_the_same_labels_give_the_same_table(table_and_labels: tuple, samples: Path):
    table, labels, _ = table_and_labels
    with warehouse() as connection:
        connection.register("given", labels.sample(frac=1, random_state=1))
        connection.execute("INSERT INTO memorization BY NAME SELECT * FROM given")
        pd.testing.assert_frame_equal(memorization_skewness(connection, STUDY, samples), table)


def test_similarity_is_looked_for_in_the_pool_alone(samples: Path):
    wanted = IDS[:POOL:2]
    found = nearest_similarity(samples, wanted)
    assert found.index.tolist() == wanted.tolist()
    assert found[IDS[0]] == pytest.approx(
        1, abs=1e-3
    )  # its twin was not asked for, and counts as a neighbour
    assert found[IDS[20]] < 0.9  # its copies are test samples
    assert found.between(0, 1).all()


def test_texts_that_are_like_no_other_have_similarity_zero(tmp_path: Path):
    texts = ["the same words", "the same words", "zzz qqq", "jjjj kkkk", "vvvv wwww", "xxxx yyyy"]
    path = tmp_path / "samples.parquet"
    table = {"sample_id": range(6), "part": ["pool"] * 6, "text": texts}
    pq.write_table(pa.Table.from_pandas(pd.DataFrame(table)), path)
    found = nearest_similarity(path, np.arange(6))
    assert found.loc[[0, 1]].tolist() == pytest.approx([1, 1])
    assert found.loc[[2, 3, 4, 5]].tolist() == [0, 0, 0, 0]


def test_bins_by_hand():
    similarity = np.concatenate([np.linspace(0, 0.5, 60), [np.nan], np.ones(40)])
    bins = similarity_bins(similarity)
    assert [len(members) for _, members in bins] == [20, 20, 20, 40]
    assert [middle for middle, _ in bins] == pytest.approx(
        [np.median(similarity[members]) for _, members in bins]
    )
    assert bins[-1][0] == 1
    assert sorted(np.concatenate([members for _, members in bins])) == [*range(60), *range(61, 101)]
    assert [len(members) for _, members in similarity_bins(np.ones(100))] == [100]
    assert similarity_bins(np.full(30, np.nan)) == []
    assert similarity_bins(np.linspace(0, 1, 19)) == []


def test_sizes_are_halves():
    assert subset_sizes(800) == [25, 50, 100, 200, 400, 800]
    assert subset_sizes(39) == [39]
    assert subset_sizes(40) == [20, 40]
