import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memo_assets.data.splits import pool_and_test, split_mask, training_positions

ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "splits_noise.npz")


@pytest.mark.parametrize("seed", range(5))
def test_split_masks_of_the_published_code_in_row_order(seed):
    mask = split_mask(2000, 0.5, seed)
    assert mask.dtype == np.int64
    np.testing.assert_array_equal(mask, ORACLE["split_idx"][seed])


def test_published_split_of_an_odd_pool():
    np.testing.assert_array_equal(split_mask(1001, 0.3, 3), ORACLE["split_odd_idx"])


def test_a_tiny_share_still_trains_on_one_sample():
    np.testing.assert_array_equal(split_mask(1001, 1e-5, 3), ORACLE["split_tiny_idx"])


def test_pool_and_test_of_the_published_code():
    pool, test = pool_and_test(2250)
    assert pool.dtype == test.dtype == np.int64
    # The oracle's fake data set keeps 1078 of its 1119 train rows; positions count after the cut.
    np.testing.assert_array_equal(pool, ORACLE["arc_train_global_index"])
    np.testing.assert_array_equal(test, ORACLE["arc_test_global_index"])


@pytest.mark.parametrize(("n", "n_pool", "n_test"), [(17865, 15880, 1985), (33750, 30000, 3750), (9, 8, 1)])
def test_sizes_of_pool_and_test(n, n_pool, n_test):
    pool, test = pool_and_test(n)
    assert (len(pool), len(test)) == (n_pool, n_test)


@given(st.integers(9, 400))
def test_pool_and_test_divide_the_samples(n):
    pool, test = pool_and_test(n)
    assert (np.diff(pool) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([pool, test])), np.arange(n))


@given(st.integers(1, 300), st.floats(0, 1, exclude_min=True), st.integers(0, 2**32 - 1))
def test_a_split_is_a_repeatable_draw_without_replacement(n, prop, seed):
    mask = split_mask(n, prop, seed)
    assert len(mask) == len(set(mask.tolist())) == max(1, int(prop * n))
    assert mask.min() >= 0
    assert mask.max() < n
    np.testing.assert_array_equal(mask, split_mask(n, prop, seed))


def test_the_whole_pool_is_a_permutation():
    np.testing.assert_array_equal(split_mask(50, 1.0, 7), np.random.RandomState(7).permutation(50))


@pytest.mark.parametrize("prop", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(prop):
    with pytest.raises(ValueError, match=r"prop is .* above 0 and at most 1"):
        split_mask(100, prop, 0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match=f"split_seed is {seed}"):
        split_mask(100, 0.5, seed)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="n is 8"):
        pool_and_test(8)
    with pytest.raises(ValueError, match="n_pool is 0"):
        split_mask(0, 0.5, 0)


def test_draws_import_nothing_heavy():
    code = (
        "import sys, memo_assets.data.splits, memo_assets.data.noise\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'sklearn', 'transformers', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pairs_share_the_pool_out_between_them():
    halves = [training_positions(12, 0.5, seed, membership="paired") for seed in range(8)]
    for even, odd in zip(halves[::2], halves[1::2], strict=True):
        assert even.dtype == np.int64
        assert sorted([*even, *odd]) == list(range(12))
    np.testing.assert_array_equal(np.bincount(np.concatenate(halves), minlength=12), 4)
    np.testing.assert_array_equal(halves[2], np.random.RandomState(1).permutation(12)[:6])
    assert len({tuple(sorted(half)) for half in halves}) == 8


def test_membership_of_pairs_is_a_fair_coin():
    inside = np.zeros((400, 50), dtype=bool)
    for seed in range(400):
        inside[seed, training_positions(50, 0.5, 2 * seed, membership="paired")] = True
    # Standard deviation of a share of 400 fair coins is .025; samples within a model are nearly independent.
    assert np.abs(inside.mean(axis=0) - 0.5).max() < 0.1
    pairs = np.corrcoef(inside.T)[np.triu_indices(50, 1)]
    assert abs(pairs.mean() + 1 / 49) < 0.005


def test_drawn_membership_is_the_published_rule():
    np.testing.assert_array_equal(training_positions(90, 0.3, 5), split_mask(90, 0.3, 5))


@pytest.mark.parametrize(("n_pool", "prop"), [(11, 0.5), (0, 0.5), (10, 0.4)])
def test_a_pool_that_cannot_be_halved_is_refused(n_pool: int, prop: float):
    with pytest.raises(ValueError, match=rf"halves the pool: {n_pool} samples with train_share = {prop:g}"):
        training_positions(n_pool, prop, 0, membership="paired")
