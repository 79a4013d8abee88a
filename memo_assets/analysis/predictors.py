"""Predictor scores of the audited models: a tidy table over checkpoints, predictors and layers."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from memo_assets.config import Study
from memo_assets.measures import trajectory as measures
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.measures.evaluation import prediction_epoch
from memo_assets.store.layout import Layout
from memo_assets.store.matrices import Trajectory, trajectory
from memo_assets.store.tables import WarehouseError

KEYS = ["predictor", "layer", "epoch", "sample_id"]


def predictor_scores(
    connection: duckdb.DuckDBPyConnection, study: Study, target: int, layer_scores: Path
) -> pd.DataFrame:
    """Columns of the table `predictor_scores` for one audited model.

    Args:
        connection: on the warehouse, with the target's logits and the labels loaded.
        study: the study.
        target: split seed of the audited model.
        layer_scores: the Parquet file of its per-layer scores.

    Returns:
        predictor, layer, epoch, sample_id, score; sorted by these keys.
    """
    path = trajectory(connection, study.name, target)
    scores = {**_from_logits(path), "random": _random(path, study, target)}
    frames = [_tidy(path, name, values) for name, values in scores.items()]
    frames += [_early_log_lira(connection, study, target), _per_layer(layer_scores)]
    table = pd.concat(frames, ignore_index=True)
    found = set(table["predictor"].unique())
    if found != set(PREDICTORS):
        raise WarehouseError(f"predictors {set(PREDICTORS) ^ found} lack a score or an entry")
    return table.sort_values(KEYS, ignore_index=True)


def target_prediction_epoch(connection: duckdb.DuckDBPyConnection, study: Study, target: int) -> float | None:
    """Prediction epoch of an audited model, None if its training loss never fell far enough.

    That of its trigger, where the recipe has one; else of the first checkpoint with a median training loss fallen by
    `scores.loss_drop`.

    Args:
        connection: on the warehouse.
        study: the study.
        target: split seed of the audited model.

    Raises:
        WarehouseError: the model is not in the warehouse or rows are missing.
    """
    if study.training.trigger is not None:
        return _trigger_epoch(connection, study.name, target)
    path = trajectory(connection, study.name, target)
    return prediction_epoch(path.epochs, np.median(path.losses, axis=1), drop=study.scores.loss_drop)


def _trigger_epoch(connection: duckdb.DuckDBPyConnection, study: str, target: int) -> float | None:
    query = "SELECT epoch, is_trigger FROM checkpoints WHERE study = ? AND split_seed = ?"
    rows = connection.execute(query, [study, target]).fetchall()
    if not rows:
        raise WarehouseError(
            f"study {study}: no checkpoints of split seed {target} in the warehouse; materialize its block of shadow_logits"
        )
    return next((epoch for epoch, is_trigger in rows if is_trigger), None)


def layer_summaries(layout: Layout, targets: list[int]) -> pd.DataFrame:
    """Columns of the table `layer_summary` for all audited models.

    Args:
        layout: where the study's files lie.
        targets: split seeds of the audited models.
    """
    frames = [pd.read_parquet(layout.layer_summary(target)).assign(target_seed=target) for target in targets]
    return pd.concat(frames).melt(id_vars=["target_seed", "epoch", "layer"], var_name="measure")


def weight_norms(layout: Layout, targets: list[int]) -> pd.DataFrame:
    """Columns of the table `weight_norms` for all audited models.

    Args:
        layout: where the study's files lie.
        targets: split seeds of the audited models.
    """
    return pd.concat(
        [pd.read_parquet(layout.weight_norms(target)).assign(target_seed=target) for target in targets]
    )


def _from_logits(path: Trajectory) -> dict[str, np.ndarray]:
    """Scores [E, N] that need nothing but the model's own logits."""
    logits, labels = path.option_logits, path.given_index
    confidence, variability = measures.cartography(logits, labels)
    return {
        "loss": path.losses,
        "logit_gap": path.gaps,
        "calibrated_loss": measures.calibrated_loss(path.losses),
        "cumulative_loss": measures.cumulative_loss(path.losses),
        "lt_iqr": measures.lt_iqr(path.losses),
        "el2n": measures.el2n(logits, labels),
        "aum": measures.aum(logits, labels),
        "forgetting": measures.forgetting(logits, labels).astype(np.float64),
        "cartography_mean": confidence,
        "cartography_sd": variability,
    }


def _random(path: Trajectory, study: Study, target: int) -> np.ndarray:
    """Uniform scores drawn per sample_id, the same at every checkpoint."""
    draws = np.random.default_rng([study.data_seed, target]).random(int(path.sample_ids.max()) + 1)
    return np.tile(draws[path.sample_ids], (len(path.epochs), 1))


def _tidy(path: Trajectory, name: str, values: np.ndarray) -> pd.DataFrame:
    n_epochs, n = values.shape
    return pd.DataFrame(
        {
            "predictor": name,
            "layer": np.int16(0),
            "epoch": np.repeat(path.epochs, n),
            "sample_id": np.tile(path.sample_ids, n_epochs),
            "score": values.ravel(),
        }
    )


def _early_log_lira(connection: duckdb.DuckDBPyConnection, study: Study, target: int) -> pd.DataFrame:
    # None at a checkpoint of this model alone: the attack needs the others.
    query = """
        SELECT 'early_log_lira' AS predictor, 0::SMALLINT AS layer, epoch, sample_id, log_lira AS score
        FROM memorization WHERE study = ? AND target_seed = ?
    """
    return connection.execute(query, [study.name, target]).df()


def _per_layer(file: Path) -> pd.DataFrame:
    """Per-layer scores of the worker in tidy form, with the slope of PSMI from epoch 0."""
    wide = pd.read_parquet(file)
    at_start = wide[wide["epoch"] == 0].set_index(["layer", "sample_id"])["psmi"]
    start = at_start.reindex(pd.MultiIndex.from_frame(wide[["layer", "sample_id"]])).to_numpy()
    epochs = wide["epoch"].to_numpy()
    wide["psmi_slope"] = np.divide(
        wide["psmi"].to_numpy() - start, epochs, out=np.zeros(len(wide)), where=epochs > 0
    )
    return wide.melt(id_vars=["layer", "epoch", "sample_id"], var_name="predictor", value_name="score")
