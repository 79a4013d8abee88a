"""Moments of blocks of models, and log-LiRA in SQL that is put together from them."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from memo_assets.measures.lira import log_lira
from memo_assets.store.files import write_json, write_parquet
from memo_assets.store.layout import Layout
from memo_assets.store.load import load_block
from memo_assets.store.tables import WarehouseError, publish, reading

EPOCHS = (0.0, 0.5, 2.0)
IDS = np.array([3, 5, 6, 10, 11, 40, 41, 42])
MODELS = 11


@pytest.fixture
def layout(warehouse: Path) -> Layout:
    return Layout(warehouse, "s")


def made() -> tuple[np.ndarray, np.ndarray]:
    """float32 gaps [S, E, N], equal for all models at the first checkpoint, and membership bool [S, N]."""
    rng = np.random.default_rng(0)
    gaps = rng.normal(scale=3, size=(MODELS, len(EPOCHS), len(IDS))).astype(np.float32)
    gaps[:, 0] = gaps[0, 0]
    gaps[:, 1] = 20 + gaps[0, 1] + 1e-4 * gaps[:, 1]  # near each other, far from 0
    return gaps, rng.random((MODELS, len(IDS))) < 0.5


def write(
    layout: Layout, seed: int, gaps: np.ndarray, inside: np.ndarray, epochs: Sequence[float] = EPOCHS
) -> None:
    """Files of one model: gaps [E, N], inside bool [N]."""
    n = len(inside)
    columns = {
        "split_seed": np.full(gaps.size, seed, np.int32),
        "epoch": np.repeat(epochs, n),
        "sample_id": np.tile(IDS[:n], len(epochs)),
        "loss": np.zeros(gaps.size, np.float32),
        "logit_gap": gaps.astype(np.float32).ravel(),
        "option_logits": pa.array([[0.0, 1.0]] * gaps.size, pa.list_(pa.float32())),
    }
    write_parquet(layout.logits(seed), pa.table(columns))
    write_parquet(layout.split_mask(seed), pa.table({"sample_id": IDS[:n][inside][::-1]}))
    entry = {"step": 0, "train_loss_mean": None, "train_loss_median": None, "learning_rate": 0.0}
    write_json(layout.training_log(seed), {"checkpoints": [{"epoch": epoch, **entry} for epoch in epochs]})


def write_all(layout: Layout, gaps: np.ndarray, inside: np.ndarray) -> None:
    for seed in range(len(gaps)):
        write(layout, seed, gaps[seed], inside[seed])


def load(layout: Layout, *blocks: Sequence[int]) -> None:
    with publish() as connection:
        for seeds in blocks:
            load_block(connection, layout, list(seeds))


def ask(query: str, *values: object) -> list[tuple]:
    with reading() as connection:
        return connection.execute(query, list(values)).fetchall()


def scores(target: int) -> list[tuple]:
    return ask("FROM log_lira_of('s', ?) ORDER BY epoch, sample_id", target)


def test_moments_are_those_of_numpy(layout: Layout) -> None:
    gaps, inside = made()
    write_all(layout, gaps, inside)
    load(layout, range(4), range(4, MODELS))
    for first, last in ((0, 3), (4, MODELS - 1)):
        block = slice(first, last + 1)
        rows = ask(
            "SELECT last_seed, epoch, sample_id, n_in, mean_in, sd_in, n_out, mean_out, sd_out FROM logit_moments "
            "WHERE study = 's' AND first_seed = ? ORDER BY epoch, sample_id",
            first,
        )
        places = [(epoch, sample) for epoch in range(len(EPOCHS)) for sample in range(len(IDS))]
        assert [row[:3] for row in rows] == [(last, EPOCHS[epoch], IDS[sample]) for epoch, sample in places]
        for row, (epoch, sample) in zip(rows, places, strict=True):
            for found, side in ((row[3:6], inside[block, sample]), (row[6:], ~inside[block, sample])):
                values = gaps[block, epoch, sample][side].astype(np.float64)
                expected = (len(values), values.mean(), values.std()) if len(values) else (0, 0, 0)
                assert found == pytest.approx(expected, rel=1e-12, abs=0 if epoch == 0 else 1e-12)


@pytest.mark.parametrize(
    "blocks", [[range(MODELS)], [range(4), range(4, MODELS)], [[seed] for seed in range(MODELS)]], ids=len
)
def test_log_lira_is_that_of_the_labels_however_models_are_cut_into_blocks(
    layout: Layout, blocks: list
) -> None:
    gaps, inside = made()
    write_all(layout, gaps, inside)
    load(layout, *blocks)
    for target in range(MODELS):
        own = inside[target]
        others = np.delete(inside, target, axis=0)[:, own]
        expected = np.stack(
            [log_lira(gaps[:, epoch], inside, target)[own] for epoch in range(len(EPOCHS))]
        ).ravel()
        rows = scores(target)
        assert [row[:4] for row in rows] == [
            (epoch, sample, n_in, MODELS - 1 - n_in)
            for epoch in EPOCHS
            for sample, n_in in zip(IDS[own], others.sum(0), strict=True)
        ]
        found = np.array([np.nan if row[4] is None else row[4] for row in rows])
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        assert np.isnan(found[: own.sum()]).all()  # no spread where all models are equal


def test_groups_of_none_and_of_one_are_as_published_and_without_a_score(layout: Layout) -> None:
    inside = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]], bool)
    gaps = np.array([[2.0, 2, 2], [1, 1, 1], [0.5, 3, 4], [1, 3.5, 6]])
    for seed in range(4):
        write(layout, seed, gaps[seed][None], inside[seed], (1.0,))
    load(layout, [0, 1], [2, 3])
    first, second, third = scores(0)
    # No other model in: mean 0, sd .1. Out: 1, .5, 1, of mean 5/6 and variance 1/18.
    out = -np.log(np.sqrt(1 / 18)) - (2 - 5 / 6) ** 2 / (2 / 18)
    assert first[2:] == (0, 3, pytest.approx(-np.log(0.1) - 2**2 / 0.02 - out, rel=1e-12))
    assert second[2:] == (1, 2, None)
    assert third[2:4] == (3, 0)
    values = np.array([1, 4, 6])
    in_ = -np.log(values.std()) - (2 - values.mean()) ** 2 / (2 * values.var())
    assert third[4] == pytest.approx(in_ + np.log(0.1) + 2**2 / 0.02, rel=1e-12)


def test_others_that_are_equal_have_no_spread_wherever_the_target_lies(layout: Layout) -> None:
    rng = np.random.default_rng(1)
    n = len(IDS)
    for seed in range(6):  # all in but the last two; the others' gaps are equal, the target's is not
        gap = (
            rng.normal(scale=10, size=n)
            if seed == 0
            else np.where(seed < 4, 1 / 3, 0.7) * np.arange(1, n + 1)
        )
        write(layout, seed, gap[None], np.full(n, seed < 4), (1.0,))
    load(layout, range(6))
    assert [row[2:] for row in scores(0)] == [(3, 2, None)] * n


def test_a_checkpoint_of_one_model_alone_has_a_row(layout: Layout) -> None:
    gaps, inside = made()
    write_all(layout, gaps[:2], inside)
    write(layout, 1, np.concatenate([gaps[1], gaps[1, :1]]), inside[1], (*EPOCHS, 3.0))
    load(layout, [0, 1])
    assert ask("SELECT DISTINCT epoch, n_in + n_out FROM logit_moments ORDER BY 1") == [
        *((epoch, 2) for epoch in EPOCHS),
        (3.0, 1),
    ]


def test_blocks_cut_anew_leave_no_moments_of_the_old_ones_that_they_share_seeds_with(layout: Layout) -> None:
    gaps, inside = made()
    write_all(layout, gaps, inside)
    load(layout, range(4), range(4, 8), range(8, MODELS))
    load(layout, range(2, 6))
    assert ask("SELECT DISTINCT first_seed, last_seed FROM logit_moments ORDER BY 1") == [
        (2, 5),
        (8, MODELS - 1),
    ]
    assert scores(0) == []  # rather than scores in which it would count among the others


def test_models_with_other_samples_are_named_and_change_nothing(layout: Layout) -> None:
    gaps, inside = made()
    write_all(layout, gaps[:3], inside)
    load(layout, range(3))
    before = scores(0)
    write(layout, 1, gaps[1, :, :-1], inside[1, :-1])
    message = f"{layout.logits(1)} holds other samples at epoch 0 than {layout.logits(0)}: materialize logits of both seeds again"
    with pytest.raises(WarehouseError, match=re.escape(message)):
        load(layout, range(3))
    assert scores(0) == before


def test_the_first_model_of_a_checkpoint_is_the_one_named(layout: Layout) -> None:
    gaps, inside = made()
    write(layout, 0, gaps[0], inside[0])
    write(layout, 1, np.concatenate([gaps[1], gaps[1, :1]]), inside[1], (*EPOCHS, 3.0))
    write(layout, 2, gaps[2, :1, :-1], inside[2, :-1], (3.0,))
    with pytest.raises(WarehouseError, match=re.escape(f"at epoch 3 than {layout.logits(1)}: ")):
        load(layout, range(3))


@pytest.mark.parametrize("seeds", [[], [0, 2], [1, 0], [0, 0]])
def test_seeds_that_are_no_block_are_refused(layout: Layout, seeds: list[int]) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"split seeds {seeds} are no block: give one or more that rise by one.")
    ):
        load(layout, seeds)
