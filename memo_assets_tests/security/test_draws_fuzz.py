"""Seeded draws over all sizes and seeds: in range, without replacement, the same again, and what the shares promise."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memo_assets.data.canaries import place_canaries
from memo_assets.data.noise import noisy_labels, template_index
from memo_assets.data.splits import TEST_SHARE, pool_and_test, split_mask, training_positions

_BOUNDED = settings(max_examples=200, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 1])
BAD_SEEDS = st.integers(max_value=-1) | st.integers(min_value=2**32)
OPTIONS = st.lists(st.integers(1, 16), min_size=1, max_size=60)


@_BOUNDED
@given(st.integers(TEST_SHARE, 3000))
def test_pool_and_test_share_out_all_samples(n: int) -> None:
    pool, test = pool_and_test(n)
    assert len(test) == n // TEST_SHARE
    np.testing.assert_array_equal(np.sort(np.concatenate([pool, test])), np.arange(n))
    np.testing.assert_array_equal(pool, np.sort(pool))
    for first, again in zip((pool, test), pool_and_test(n), strict=True):
        np.testing.assert_array_equal(first, again)


@_BOUNDED
@given(n=st.integers(1, 3000), share=st.floats(0, 1, exclude_min=True), seed=SEEDS)
@example(n=1, share=5e-324, seed=2**32 - 1)
@example(n=2999, share=1.0, seed=0)
def test_a_split_draws_distinct_positions_of_the_pool(n: int, share: float, seed: int) -> None:
    drawn = split_mask(n, share, seed)
    assert drawn.dtype == np.int64
    assert len(drawn) == len(np.unique(drawn)) == max(1, int(share * n))
    assert drawn.min() >= 0
    assert drawn.max() < n
    np.testing.assert_array_equal(drawn, split_mask(n, share, seed))


@_BOUNDED
@given(half=st.integers(1, 800), pair=st.integers(0, 2**31 - 1))
def test_a_pair_of_splits_is_the_pool(half: int, pair: int) -> None:
    first, second = (
        training_positions(2 * half, 0.5, seed, membership="paired") for seed in (2 * pair, 2 * pair + 1)
    )
    assert len(first) == len(second) == half
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(2 * half))


@_BOUNDED
@given(n=st.integers(-3, 50), share=st.floats(), seed=SEEDS | BAD_SEEDS)
def test_what_cannot_be_drawn_is_a_sentence(n: int, share: float, seed: int) -> None:
    if n >= 1 and 0 < share <= 1 and 0 <= seed < 2**32:
        assert len(split_mask(n, share, seed)) >= 1
        return
    with pytest.raises(ValueError, match=r"^(n_pool|prop|split_seed) is "):
        split_mask(n, share, seed)


@_BOUNDED
@given(n_options=OPTIONS, noise=st.floats(0, 1), seed=SEEDS, data=st.data())
def test_noise_redraws_labels_among_the_options(
    n_options: list[int], noise: float, seed: int, data: st.DataObject
) -> None:
    true = [data.draw(st.integers(0, n - 1)) for n in n_options]
    given_index, is_random = noisy_labels(true, n_options, noise, seed)
    assert ((given_index >= 0) & (given_index < np.array(n_options))).all()
    np.testing.assert_array_equal(given_index[~is_random], np.array(true)[~is_random])
    again = noisy_labels(true, n_options, noise, seed)
    np.testing.assert_array_equal(given_index, again[0])
    np.testing.assert_array_equal(is_random, again[1])


@_BOUNDED
@given(n_options=OPTIONS, seed=SEEDS)
def test_no_noise_changes_nothing_and_full_noise_redraws_all(n_options: list[int], seed: int) -> None:
    true = [n - 1 for n in n_options]
    kept, none = noisy_labels(true, n_options, 0.0, seed)
    np.testing.assert_array_equal(kept, true)
    assert not none.any()
    _, everything = noisy_labels(true, n_options, 1.0, seed)
    assert everything.all()


@_BOUNDED
@given(
    true=st.lists(st.integers(-2, 5) | st.floats(), min_size=1, max_size=4),
    n_options=st.lists(st.integers(-1, 4), min_size=1, max_size=4),
    noise=st.floats(),
    seed=SEEDS | BAD_SEEDS,
)
def test_labels_that_cannot_be_noisy_are_a_sentence(
    true: list[float], n_options: list[int], noise: float, seed: int
) -> None:
    fine = len(true) == len(n_options) and all(
        isinstance(index, int) and 0 <= index < n for index, n in zip(true, n_options, strict=True)
    )
    if fine and 0 <= noise <= 1 and 0 <= seed < 2**32:
        assert len(noisy_labels(true, n_options, noise, seed)[0]) == len(true)
        return
    with pytest.raises(ValueError, match=r"^(true_index|n_options|noise|data_seed) "):
        noisy_labels(true, n_options, noise, seed)


@_BOUNDED
@given(n_templates=OPTIONS, seed=SEEDS)
def test_a_template_is_one_of_those_there_are(n_templates: list[int], seed: int) -> None:
    drawn = template_index(len(n_templates), n_templates, seed)
    assert ((drawn >= 0) & (drawn < np.array(n_templates))).all()
    np.testing.assert_array_equal(drawn, template_index(len(n_templates), n_templates, seed))


@_BOUNDED
@given(eligible=st.lists(st.booleans(), min_size=1, max_size=80), seed=SEEDS, data=st.data())
def test_canaries_are_distinct_and_eligible(eligible: list[bool], seed: int, data: st.DataObject) -> None:
    allowed = np.array(eligible)
    if not allowed.any():
        return
    count = data.draw(st.integers(1, int(allowed.sum())))
    places = place_canaries(allowed, count, seed)
    assert len(np.unique(places)) == count
    assert allowed[places].all()
    np.testing.assert_array_equal(places, place_canaries(allowed, count, seed))
