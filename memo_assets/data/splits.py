"""Which samples form the train pool, the test set, and the train set of each shadow model.

Here belong the seeded draws of positions. They reproduce the published study bit for bit (legacy `RandomState`, row
order kept), so that results stay comparable with it. What is drawn *per sample* (label noise, templates) is in
`noise.py`; reading data sets is not done here. Imports numpy only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

TEST_SHARE = 9
"""One sample in nine is set aside as test sample."""

_MAX_SEED = 2**32 - 1


def random_state(seed: int, *, name: str) -> np.random.RandomState:
    """Make the generator of the published draws.

    Args:
        seed: 0 .. 2**32 - 1.
        name: what an error calls the seed.

    Returns:
        A fresh legacy Mersenne Twister.

    Raises:
        ValueError: if the seed is negative or does not fit 32 bits.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"{name} is {seed}: give a whole number from 0 to {_MAX_SEED}.")
    return np.random.RandomState(seed)


def pool_and_test(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide n samples into the train pool and the test set.

    The test set is a draw of int(n / 9) positions without replacement with seed 0, the pool is the rest. The seed is
    part of the rule: every model of a study shares pool and test set.

    Args:
        n: number of samples, at least 9.

    Returns:
        (pool, test), int64 positions: the pool ascending, the test set in the order of the draw.

    Raises:
        ValueError: if n is below 9, which leaves no test sample.

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858, and its public code.
    """
    if n < TEST_SHARE:
        raise ValueError(
            f"n is {n}: one sample in {TEST_SHARE} is kept for testing, so give at least {TEST_SHARE}."
        )
    test = random_state(0, name="the seed of the test set").choice(n, int(n / TEST_SHARE), replace=False)
    in_pool = np.ones(n, dtype=bool)
    in_pool[test] = False
    return np.flatnonzero(in_pool).astype(np.int64), test.astype(np.int64)


def split_mask(n_pool: int, prop: float, split_seed: int) -> np.ndarray:
    """Draw the train set of one shadow model.

    Args:
        n_pool: size of the train pool, at least 1.
        prop: share of the pool to train on, in (0, 1]; int(prop * n_pool) samples, and at least one.
        split_seed: the shadow model's split seed, 0 .. 2**32 - 1.

    Returns:
        int64 positions in the pool, distinct, in the order of the draw (the row order of the training set).

    Raises:
        ValueError: if `n_pool` is below 1, `prop` outside (0, 1] or the seed negative or too large.

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858, and its public code.
    """
    if n_pool < 1:
        raise ValueError(f"n_pool is {n_pool}: a split needs a pool of at least one sample.")
    if not 0 < prop <= 1:
        raise ValueError(f"prop is {prop}: give the share of the pool to train on, above 0 and at most 1.")
    rng = random_state(split_seed, name="split_seed")
    return rng.choice(n_pool, max(1, int(prop * n_pool)), replace=False).astype(np.int64)


def training_positions(
    n_pool: int, prop: float, split_seed: int, *, membership: Literal["drawn", "paired"] = "drawn"
) -> np.ndarray:
    """The train set of one shadow model, by either rule of membership.

    Args:
        n_pool: size of the train pool, at least 1.
        prop: share of the pool to train on; 0.5 for pairs.
        split_seed: the shadow model's split seed, 0 .. 2**32 - 1.
        membership: drawn, as in `split_mask`; or paired: split seeds 2k and 2k + 1 take the two halves of one permutation
            of the pool, drawn with seed k. Each sample is then in exactly half of an even number of models, each model has
            exactly half of the samples, and whether a sample is in one model is a fair coin.

    Returns:
        int64 positions in the pool, distinct, in the order of the draw (the row order of the training set).

    Raises:
        ValueError: as in `split_mask`; for pairs, a pool that cannot be halved or another share than a half.
    """
    if membership == "drawn":
        return split_mask(n_pool, prop, split_seed)
    if n_pool % 2 or not n_pool or prop != 0.5:
        raise ValueError(
            f"shadows.membership paired halves the pool: {n_pool} samples with train_share = {prop:g} given, expected an even "
            "number with train_share 0.5; leave a sample out, or use membership drawn"
        )
    order = random_state(split_seed // 2, name="split_seed").permutation(n_pool)
    first, second = np.split(order, 2)
    return (second if split_seed % 2 else first).astype(np.int64)
