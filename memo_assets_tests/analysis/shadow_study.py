"""A study of twelve models in a warehouse in memory: drawn at random, a fifth of the samples memorized for sure."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import numpy as np
import pandas as pd

from memo_assets.store.schema import ddl

MODELS, POOL, TEST = 12, 60, 9
EPOCHS = [0.0, 2.0]
IDS = np.arange(POOL + TEST) * 3
MEMORIZED = np.arange(POOL) % 5 == 0


def inside() -> np.ndarray:
    """bool [S, N], half of the pool each."""
    return np.stack([np.random.default_rng(seed).permutation(POOL) < POOL // 2 for seed in range(MODELS)])


def outputs(epoch: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and losses [S, pool and test]; before training all models answer alike."""
    rng = np.random.default_rng(0)
    gaps = np.tile(rng.normal(size=POOL + TEST), (MODELS, 1))
    if epoch:
        gaps = gaps + rng.normal(scale=0.5, size=gaps.shape)
        gaps[:, :POOL] += np.where(MEMORIZED, 8.0, 0.5) * inside()
    return gaps, np.logaddexp(0, -gaps)


@contextmanager
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection on the tables samples, split_masks and logits of the study `tiny`."""
    samples = pd.DataFrame({"study": "tiny", "sample_id": IDS, "part": ["pool"] * POOL + ["test"] * TEST})
    seeds, places = np.nonzero(inside())
    masks = pd.DataFrame({"study": "tiny", "split_seed": seeds, "sample_id": IDS[places], "position": places})
    logits = []
    for epoch in EPOCHS:
        gaps, losses = outputs(epoch)
        rows = {"split_seed": np.repeat(np.arange(MODELS), len(IDS)), "sample_id": np.tile(IDS, MODELS)}
        logits.append(
            pd.DataFrame({**rows, "epoch": epoch, "loss": losses.ravel(), "logit_gap": gaps.ravel()})
        )
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        for name, table in (
            ("samples", samples),
            ("split_masks", masks),
            ("logits", pd.concat(logits).assign(study="tiny")),
        ):
            connection.register("given", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given")
        yield connection
