"""Memorization labels from the shadow models' outputs, by every attack."""

from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from memo_assets.config import Study
from memo_assets.measures.attacks import ATTACKS, Outputs, scores_of
from memo_assets.measures.evaluation import memorized_labels
from memo_assets.measures.population import population
from memo_assets.measures.shadows import sample_blocks
from memo_assets.store.matrices import Shadows, membership, pool_and_test_at, pool_ids, shadows_at

CLIP = 100.0


def memorization(connection: duckdb.DuckDBPyConnection, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns of the tables `memorization` and `memorization_scores`, for all audited models and checkpoints of the recipe.

    A checkpoint at a single model's trigger has no labels: the other models were not kept there.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.

    Returns:
        Labels by the study's attack, one row per target, checkpoint and training sample of the target, in that order;
        and the scores of all attacks, one row per target, checkpoint, attack and sample.

    Raises:
        ValueError: at the last checkpoint none of a target's training samples is memorized, or all are.

    Source: Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022; other attacks as given
    in `measures.attacks`.
    """
    ids, labels, scores = pool_ids(connection, study.name), [], []
    in_train = membership(connection, study.name, study.shadows.models)
    for epoch in study.training.checkpoints:
        for frame, of_attacks in _at_epoch(connection, study, epoch, ids, in_train):
            labels.append(frame)
            scores.append(of_attacks)
    order = ["target_seed", "epoch", "sample_id"]
    return (
        pd.concat(labels).sort_values(order, ignore_index=True),
        pd.concat(scores).sort_values(["target_seed", "epoch", "attack", "sample_id"], ignore_index=True),
    )


def _at_epoch(
    connection: duckdb.DuckDBPyConnection, study: Study, epoch: float, ids: np.ndarray, in_train: np.ndarray
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Labels, and scores by attack, of every target at one checkpoint, whose outputs are let go afterwards."""
    outputs, found = attack_outputs(connection, study, epoch, in_train), []
    of_targets = scores_of(list(ATTACKS.values()), outputs, study.shadows.audited)
    for target, of_attacks in zip(study.shadows.audited, of_targets, strict=True):
        member = outputs.in_train[target]
        by_name = {name: scores[member] for name, scores in zip(ATTACKS, of_attacks, strict=True)}
        frame = _labels(study, by_name, outputs.in_train[:, member].sum(axis=0) - 1)
        if epoch == study.training.checkpoints[-1]:
            _require_both(study, target, frame)
        share = float(frame["memorized"].mean())
        keys = {"target_seed": np.int32(target), "epoch": epoch, "sample_id": ids[member]}
        by_attack = {
            **keys,
            "sample_id": np.tile(ids[member], len(by_name)),
            "attack": pd.array(list(by_name), dtype="str").repeat(len(frame)),
            "score": np.concatenate(list(by_name.values())),
            "memorized": np.concatenate(
                [_top(study, name, values, share) for name, values in by_name.items()]
            ),
        }
        found.append((pd.DataFrame(keys).join(frame), pd.DataFrame(by_attack)))
    return found


def attack_outputs(
    connection: duckdb.DuckDBPyConnection, study: Study, epoch: float, in_train: np.ndarray | None = None
) -> Outputs:
    """What attacks read of a study at one checkpoint; the test samples, which no model saw, are RMIA's population.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.
        epoch: the checkpoint.
        in_train: what `membership` finds, which is the same at all checkpoints, where that is known.
    """
    models, queries = study.shadows.models, study.labels.queries
    n_queries = 0 if queries is None else len(queries.offsets)
    pool, test = pool_and_test_at(connection, study.name, epoch, models, n_queries=n_queries)
    if in_train is None:
        in_train = membership(connection, study.name, models)
    return Outputs(pool.gaps, pool.losses, test.losses, in_train, pool.query_gaps)


def label_rule(study: Study) -> Callable[[np.ndarray], np.ndarray]:
    """The study's rule from scores [N] of its attack, nan where there is none, to memorized or not, bool [N].

    Args:
        study: the study.
    """
    return lambda scores: memorized_labels(scores, quantile=study.labels.quantile, eta=study.labels.eta)


def _labels(study: Study, found: dict[str, np.ndarray], n_in: np.ndarray) -> pd.DataFrame:
    log_lira, score = found["online_lira"], found[study.labels.attack]
    return pd.DataFrame(
        {
            "log_lira": log_lira,
            "log_lira_clipped": log_lira.clip(-CLIP, CLIP),
            "score": score,
            "percentile": (rankdata(score, method="min", nan_policy="omit") - 1) / len(score),
            "memorized": label_rule(study)(score),
            "n_in": n_in.astype(np.int32),
            "n_out": (study.shadows.models - 1 - n_in).astype(np.int32),
        }
    )


def _top(study: Study, attack: str, scores: np.ndarray, share: float) -> np.ndarray:
    """The highest scores of one attack, as many as the study's own labels; eta has no meaning for other attacks."""
    if attack == study.labels.attack:
        return label_rule(study)(scores)
    quantile = study.labels.quantile if study.labels.eta is None else 1 - share
    if not 0 < quantile < 1 or np.isnan(scores).all():
        return np.full(len(scores), quantile <= 0) & ~np.isnan(scores)
    return memorized_labels(scores, quantile=quantile)


def _require_both(study: Study, target: int, frame: pd.DataFrame) -> None:
    """Raise if labels do not split the target's training samples in two."""
    n, score, labels = int(frame["memorized"].sum()), frame["score"], study.labels
    if 0 < n < len(frame):
        return
    rule = f"quantile = {labels.quantile:g}" if labels.eta is None else f"eta = {labels.eta:g}"
    raise ValueError(
        f"study {study.name}: labels.{rule} on {labels.attack} calls {n} of {len(frame)} training samples of target "
        f"{target} memorized at the last checkpoint (scores from {score.min():.4g} to {score.max():.4g}); choose another "
        "labels.eta, labels.quantile or labels.attack"
    )


def population_memorization(connection: duckdb.DuckDBPyConnection, study: Study) -> pd.DataFrame:
    """Columns of the table `population_memorization`, for all checkpoints of a study's recipe.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.

    Returns:
        One row per checkpoint and pool sample, in that order.
    """
    models = study.shadows.models
    ids, inside = pool_ids(connection, study.name), membership(connection, study.name, models)
    frames = []
    for epoch in study.training.checkpoints:
        frames += _population_at(shadows_at(connection, study.name, epoch, models), inside, epoch, ids)
    return pd.concat(frames, ignore_index=True)


def _population_at(shadows: Shadows, inside: np.ndarray, epoch: float, ids: np.ndarray) -> list[pd.DataFrame]:
    """Measures of the samples at one checkpoint, by block of samples."""
    frames = []
    for part in sample_blocks(*inside.shape):
        gaps, losses = (values[:, part].astype(np.float64) for values in (shadows.gaps, shadows.losses))
        measures = population(gaps, losses, inside[:, part])
        frames.append(pd.DataFrame({"epoch": epoch, "sample_id": ids[part], **measures}))
    return frames
