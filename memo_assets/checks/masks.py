"""The check of the split masks: which samples the models are trained on.

What belongs here: sizes, pool, balance. What does not: the draws (`data.splits`).
"""

import math
from collections.abc import Sequence

import duckdb
import numpy as np
from scipy.stats import binom

from memo_assets.checks.verdict import Verdict, not_judged, numbered, seeds_named, span
from memo_assets.config import Shadows
from memo_assets.store.layout import SEED_IN_NAME, Layout

FALSE_ALARM = 1e-6
"""Probability that any sample of sound split masks lies outside the bounds."""

_MASKS = f"""
SELECT {SEED_IN_NAME} AS split_seed, sample_id
FROM read_parquet(?, hive_partitioning = false, filename = true)
"""


def masks_balanced(layout: Layout, shadows: Shadows, seeds: Sequence[int]) -> Verdict:
    """Whether the models' training sets are of the right size, of the pool, and share it out evenly.

    A drawn training set holds each of the N pool samples with probability n / N, whatever the other models hold; over S
    models, how many hold a sample is binomial. A sample fails whose number has a tail of less than FALSE_ALARM / 2N on
    its side (exact tails, Bonferroni over samples and sides). No two models may share a training set, where the pool
    is large enough that chance does so less often than FALSE_ALARM. Of paired models, each pair shares the pool out
    exactly; pairs are judged of which both are given.

    Args:
        layout: where samples and split masks lie.
        shadows: train_share and membership.
        seeds: split seeds to judge.
    """
    seeds = sorted(seeds)
    if not seeds:
        return not_judged("no split mask has been recorded")
    with duckdb.connect() as connection:
        query = (
            "SELECT sample_id FROM read_parquet(?, hive_partitioning = false) WHERE part = 'pool' ORDER BY 1"
        )
        pool = np.asarray(connection.execute(query, [str(layout.samples)]).fetchnumpy()["sample_id"])
        rows = connection.execute(_MASKS, [[str(layout.split_mask(seed)) for seed in seeds]]).fetchnumpy()
    n_models, n_pool = len(seeds), len(pool)
    n_train = max(1, int(shadows.train_share * n_pool))
    ids, model = np.asarray(rows["sample_id"]), np.searchsorted(seeds, np.asarray(rows["split_seed"]))
    place = np.searchsorted(pool, ids).clip(max=n_pool - 1)
    stray = pool[place] != ids
    held = np.zeros((n_models, n_pool), dtype=np.int16)
    np.add.at(held, (model[~stray], place[~stray]), 1)
    faults = {
        "samples that are not of the pool": np.bincount(model[stray], minlength=n_models) > 0,
        "samples held more than once": (held > 1).any(axis=1),
        f"another size than {n_train}": np.bincount(model, minlength=n_models) != n_train,
        "the very samples of another model": _alike(held, n_train),
    }
    if shadows.membership == "paired":
        faults["samples that a pair shares or leaves out"] = _not_shared_out(held, seeds)
    wrong = {fault: [seeds[row] for row in np.flatnonzero(bad)] for fault, bad in faults.items() if bad.any()}
    problems = [f"{fault}: {seeds_named(bad)}" for fault, bad in wrong.items()]

    count, numbers = (held > 0).sum(axis=0), np.arange(n_models + 1)
    chance = n_train / n_pool
    tails = np.minimum(binom.cdf(numbers, n_models, chance), binom.sf(numbers - 1, n_models, chance))
    possible = tails >= FALSE_ALARM / (2 * n_pool)
    bounds = span(np.flatnonzero(possible) / n_models)
    unbalanced = pool[~possible[count]]
    if len(unbalanced):
        problems.append(
            f"samples in too many or too few of {n_models} models, a share of {span(count / n_models)} where chance gives "
            f"{bounds}: {numbered(unbalanced)}"
        )
    facts = {
        "models": n_models,
        "training_samples": n_train,
        "least_share": float(count.min() / n_models),
        "largest_share": float(count.max() / n_models),
        "bounds": bounds,
        "unbalanced_samples": len(unbalanced),
    }
    if problems:
        return Verdict(
            passed=False,
            sentence=f"split masks with {'; '.join(problems)}. Materialize samples and split_masks again",
            facts=facts,
            seeds=tuple(sorted({seed for bad in wrong.values() for seed in bad})),
        )
    return Verdict(
        passed=True,
        sentence=f"{n_train} of {n_pool} pool samples a model, each sample in a share of {span(count / n_models)} of "
        f"{n_models} models, where chance gives {bounds}",
        facts=facts,
    )


def _alike(held: np.ndarray, n_train: int) -> np.ndarray:
    """Bool [S], whether another model has the very same training set; none where chance may have done so."""
    n_models, n_pool = held.shape
    log_sets = math.lgamma(n_pool + 1) - math.lgamma(n_train + 1) - math.lgamma(n_pool - n_train + 1)
    if math.log(n_models**2 / 2) - log_sets > math.log(FALSE_ALARM):
        return np.zeros(n_models, dtype=bool)
    _, index, counts = np.unique(held > 0, axis=0, return_inverse=True, return_counts=True)
    return counts[index.ravel()] > 1


def _not_shared_out(held: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """Bool [S], whether a model and the other of its pair are both there and do not hold each sample once."""
    row = {seed: index for index, seed in enumerate(seeds)}
    other = np.array([row.get(seed ^ 1, -1) for seed in seeds])
    return (other >= 0) & ((held + held[other]) != 1).any(axis=1)
