"""Judging every predictor at every checkpoint by the memorization labels of the last checkpoint."""

from typing import cast

import duckdb
import numpy as np
import pandas as pd

from memo_assets.analysis.predictors import target_prediction_epoch
from memo_assets.config import Study
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.measures.evaluation import evaluate, operating_point, precision_at_k, roc

TPR_OBJECTIVE = 0.75


def predictor_evaluation(connection: duckdb.DuckDBPyConnection, study: Study, target: int) -> pd.DataFrame:
    """Columns of the table `predictor_evaluation` for one audited model.

    Args:
        connection: on the warehouse, with labels and predictor scores loaded.
        study: the study.
        target: split seed of the audited model.

    Returns:
        One row per predictor, layer and checkpoint.
    """
    labels = final_labels(connection, study.name, target)
    predict_at = target_prediction_epoch(connection, study, target)
    query = """
        SELECT predictor, layer, epoch, sample_id, score FROM predictor_scores
        WHERE study = ? AND target_seed = ? ORDER BY predictor, layer, epoch, sample_id
    """
    scores = connection.execute(query, [study.name, target]).df()
    scores["memorized"] = labels.loc[scores["sample_id"]].to_numpy()
    last_layer = int(scores["layer"].max())
    rows = []
    for key, group in scores.groupby(["predictor", "layer", "epoch"], sort=True):
        predictor, layer, epoch = cast("tuple[str, int, float]", key)
        values = group["score"].to_numpy()
        memorized = group["memorized"].to_numpy()
        riskier = PREDICTORS[predictor].higher_is_riskier
        judged = evaluate(values, memorized, higher_is_riskier=riskier, tpr=TPR_OBJECTIVE)
        rule = operating_point(values < 0, memorized) if predictor == "psmi" else (np.nan, np.nan)
        rows.append(
            {
                "predictor": predictor,
                "layer": np.int16(layer),
                "epoch": epoch,
                "auc": judged.auc,
                "fpr_at_tpr": judged.fpr_at_tpr,
                "threshold_at_tpr": judged.threshold_at_tpr,
                "tpr_at_fpr_001": judged.tpr_at_fpr_001,
                "tpr_at_fpr_01": judged.tpr_at_fpr_01,
                "precision_at_k": precision_at_k(
                    values, memorized, judged.n_memorized, higher_is_riskier=riskier
                ),
                "rule_fpr": rule[0],
                "rule_tpr": rule[1],
                "n": judged.n,
                "n_memorized": judged.n_memorized,
                "is_prediction_epoch": epoch == predict_at,
                "is_last_layer": not PREDICTORS[predictor].per_layer or layer == last_layer,
            }
        )
    return pd.DataFrame(rows)


def final_labels(connection: duckdb.DuckDBPyConnection, study: str, target: int) -> pd.Series:
    """Memorized or not at the last checkpoint, by sample_id.

    Args:
        connection: on the warehouse.
        study: name of the study.
        target: split seed of the audited model.
    """
    query = """
        SELECT sample_id, memorized FROM memorization
        WHERE study = ? AND target_seed = ? QUALIFY epoch = max(epoch) OVER () ORDER BY sample_id
    """
    return connection.execute(query, [study, target]).df().set_index("sample_id")["memorized"]


def roc_curves(
    connection: duckdb.DuckDBPyConnection, study: str, target: int, *, epoch: float, predictors: list[str]
) -> pd.DataFrame:
    """ROC curves at one checkpoint: predictor, layer, fpr, tpr, auc; the last layer of per-layer predictors.

    Args:
        connection: on the warehouse.
        study: name of the study.
        target: split seed of the audited model.
        epoch: the checkpoint.
        predictors: names to draw.
    """
    labels = final_labels(connection, study, target)
    query = """
        SELECT s.predictor, s.layer, s.sample_id, s.score, e.auc
        FROM predictor_scores s JOIN predictor_evaluation e USING (study, target_seed, epoch, predictor, layer)
        WHERE s.study = ? AND s.target_seed = ? AND s.epoch = ? AND e.is_last_layer
          AND s.predictor IN (SELECT unnest(?))
        ORDER BY ALL
    """
    scores = connection.execute(query, [study, target, epoch, predictors]).df()
    frames = []
    for key, group in scores.groupby(["predictor", "layer"]):
        predictor, layer = cast("tuple[str, int]", key)
        fpr, tpr, _ = roc(
            group["score"].to_numpy(),
            labels.loc[group["sample_id"]].to_numpy(),
            higher_is_riskier=PREDICTORS[predictor].higher_is_riskier,
        )
        frames.append(
            pd.DataFrame(
                {"predictor": predictor, "layer": layer, "fpr": fpr, "tpr": tpr, "auc": group["auc"].iloc[0]}
            )
        )
    return pd.concat(frames, ignore_index=True)
