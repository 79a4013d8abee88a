"""The batch plan."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memo_assets.training.batches import epoch_batches, pack_batches


@given(n=st.integers(1, 700), batch_size=st.integers(1, 16), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_every_row_once_and_one_smaller_batch_at_most(n: int, batch_size: int, seed: int, epoch: int) -> None:
    rows = np.arange(n) * 3
    lengths = np.random.default_rng(0).integers(1, 50, 3 * n)
    batches = epoch_batches(rows, lengths, epoch, split_seed=seed, batch_size=batch_size)
    assert np.array_equal(np.sort(np.concatenate(batches)), rows)
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == -(-n // batch_size)
    assert sorted(sizes, reverse=True)[: n // batch_size] == [batch_size] * (n // batch_size)


def test_contents_depend_on_split_seed_and_epoch_alone() -> None:
    rows = np.stack([np.random.RandomState(s).choice(500, 200, replace=False) for s in (3, 4, 9)])
    lengths = np.random.default_rng(1).integers(5, 60, 500)
    packed = pack_batches(rows, lengths, 2, seeds=[3, 4, 9], batch_size=8)
    alone = epoch_batches(rows[1], lengths, 2, split_seed=4, batch_size=8)
    assert all(np.array_equal(step[1], batch) for step, batch in zip(packed, alone, strict=True))
    other_epoch = epoch_batches(rows[1], lengths, 3, split_seed=4, batch_size=8)
    assert not all(np.array_equal(a, b) for a, b in zip(alone, other_epoch, strict=True))


def test_steps_have_similar_lengths_across_the_pack() -> None:
    seeds = list(range(8))
    rows = np.stack([np.random.RandomState(s).choice(2000, 1000, replace=False) for s in seeds])
    lengths = np.random.default_rng(2).integers(10, 200, 2000)
    steps = pack_batches(rows, lengths, 0, seeds=seeds, batch_size=8)
    padded = sum(lengths[step].max() * step.size for step in steps)
    # Batches of 8 drawn without regard to length would be padded to nearly 200 of 105 tokens, a factor of 1.9.
    assert padded < 1.2 * lengths[rows].sum()


def test_the_order_of_lengths_is_shuffled() -> None:
    lengths = np.arange(320)
    batches = epoch_batches(np.arange(320), lengths, 0, split_seed=0, batch_size=10)
    longest = [batch.max() for batch in batches]
    assert longest != sorted(longest)
    assert abs(np.corrcoef(longest, np.arange(32))[0, 1]) < 0.5
