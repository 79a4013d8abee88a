"""Memorization labels from the shadow models' logits."""

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from memo_assets.config import Study
from memo_assets.measures.evaluation import memorized_labels
from memo_assets.measures.lira import log_lira
from memo_assets.measures.population import population
from memo_assets.store.matrices import epochs_of, membership, pool_ids, shadows_at

CLIP = 100.0


def memorization(connection: duckdb.DuckDBPyConnection, study: Study) -> pd.DataFrame:
    """Columns of the table `memorization`, for all audited models and checkpoints of a study.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.

    Returns:
        One row per target, checkpoint and training sample of the target, in that order.

    Source: Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022.
    """
    models = study.shadows.models
    ids, inside = pool_ids(connection, study.name), membership(connection, study.name, models)
    frames = []
    for epoch in epochs_of(connection, study.name):
        gaps = shadows_at(connection, study.name, epoch, models).gaps
        for target in study.shadows.audited:
            member = inside[target]
            scores = log_lira(gaps, inside, target)[member]
            # Untrained adapters all answer alike: both hypotheses have the same likelihood, whose log ratio is 0.
            scores[np.ptp(gaps[:, member], axis=0) == 0] = 0.0
            n_in = inside[:, member].sum(axis=0) - 1
            frames.append(
                pd.DataFrame(
                    {
                        "target_seed": np.int32(target),
                        "epoch": epoch,
                        "sample_id": ids[member],
                        "log_lira": scores,
                        "log_lira_clipped": scores.clip(-CLIP, CLIP),
                        "percentile": (rankdata(scores, method="min", nan_policy="omit") - 1) / len(scores),
                        "memorized": memorized_labels(scores, quantile=study.labels.quantile),
                        "n_in": n_in.astype(np.int32),
                        "n_out": (models - 1 - n_in).astype(np.int32),
                    }
                )
            )
    return pd.concat(frames).sort_values(["target_seed", "epoch", "sample_id"], ignore_index=True)


def population_memorization(connection: duckdb.DuckDBPyConnection, study: Study) -> pd.DataFrame:
    """Columns of the table `population_memorization`, for all checkpoints of a study.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.

    Returns:
        One row per checkpoint and pool sample, in that order.
    """
    models = study.shadows.models
    ids, inside = pool_ids(connection, study.name), membership(connection, study.name, models)
    frames = []
    for epoch in epochs_of(connection, study.name):
        shadows = shadows_at(connection, study.name, epoch, models)
        measures = population(shadows.gaps, shadows.losses, inside)
        frames.append(pd.DataFrame({"epoch": epoch, "sample_id": ids, **measures}))
    return pd.concat(frames, ignore_index=True)
