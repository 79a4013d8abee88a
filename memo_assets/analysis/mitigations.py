"""What protected variants of a study cost and gain, beside the study itself.

What belongs here: test accuracy, memorization and the attack on the samples protected and on those left, from the
warehouse. What does not: reading audits and training logs (`assets.mitigations`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from memo_assets.analysis.labels import attack_outputs
from memo_assets.analysis.sweeps import tells_apart
from memo_assets.config import Study
from memo_assets.config.protection import EARLY_STOPPING, NO_PROTECTION
from memo_assets.measures.evaluation import evaluate
from memo_assets.store.matrices import pool_ids, shadows_at
from memo_assets.study_protections import ProtectedStudy

PROTECTED, LEFT, ALL = "protected", "left", "all"
COLUMNS = (
    "study", "mitigation", "sample_group", "variant", "epoch", "n_models", "n", "n_judged", "test_accuracy",
    "test_accuracy_sd", "train_accuracy", "share_memorized", "share_memorized_before", "newly_memorized",
    "no_longer_memorized", "attack_auc", "attack_tpr_at_fpr_01", "epsilon", "delta",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the comparison needs beside the warehouse.

    Attributes:
        flagged: by base study, the ids of the samples that its audit flags; without studies that have no audit.
        privacy: by variant, epsilon and delta of DP-SGD; without variants that have none.
    """

    flagged: Mapping[str, Sequence[int]]
    privacy: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class _Base:
    """The unprotected study at its last checkpoint.

    Attributes:
        study: the study.
        groups: by name of a group, bool [N] over the pool.
        thresholds: by audited model, the lowest score that the study calls memorized.
        memorized: by audited model, bool [n] over its training samples, rising by id.
    """

    study: Study
    groups: dict[str, np.ndarray]
    thresholds: dict[int, float]
    memorized: dict[int, np.ndarray]


def not_in_warehouse(connection: duckdb.DuckDBPyConnection, protected: Sequence[ProtectedStudy]) -> list[str]:
    """Names of the studies and variants whose memorization is not known, in their order.

    Args:
        connection: on the warehouse.
        protected: the studies.
    """
    there = _in_warehouse(connection)
    names = [study.name for one in protected for study in (one.study, *one.variants.values())]
    return [name for name in names if name not in there]


def mitigation_points(
    connection: duckdb.DuckDBPyConnection, protected: Sequence[ProtectedStudy]
) -> pd.DataFrame:
    """Rows of the table `mitigation_comparison` of some studies, in their order, with the study's title for its name.

    Args:
        connection: on the warehouse.
        protected: the studies.
    """
    frames = [pd.DataFrame(columns=list(COLUMNS))]
    for one in protected:
        rows = connection.execute(
            "SELECT * FROM mitigation_comparison WHERE study = ?", [one.study.name]
        ).df()
        order = [NO_PROTECTION, EARLY_STOPPING, *one.variants]
        rows = rows[rows["mitigation"].isin(order)]
        place = rows["mitigation"].map(order.index)
        frames.append(rows.assign(study=one.study.title).iloc[np.argsort(place, kind="stable")])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def mitigation_comparison(
    connection: duckdb.DuckDBPyConnection, protected: Sequence[ProtectedStudy], facts: Facts
) -> pd.DataFrame:
    """Columns of the table `mitigation_comparison`; none of a study or variant that is not in the warehouse.

    The rows of a study: `none`, the study itself; `early_stopping`, the same models at the last checkpoint not after the
    first audited model's prediction epoch, where there is one; then its variants at their last checkpoints. A sample is
    memorized where the score of the study's attack reaches the threshold of the base study, in the same unit: a quantile of
    its own would call as many memorized in every variant. Members are those of the split masks, also of samples that a
    variant drops: where dropping protects, an attack on those does not tell members from others, and its AUC is near .5.

    Args:
        connection: on the warehouse.
        protected: the studies, in the order in which they are to be shown.
        facts: audits and privacy.

    Returns:
        Rows in the order above; the groups protected, left and all of each, or all alone without an audit.
    """
    there, rows = _in_warehouse(connection), []
    for one in protected:
        if one.study.name not in there:
            continue
        base = _base(connection, one.study, facts.flagged.get(one.study.name))
        last = one.study.training.checkpoints[-1]
        rows += _rows(connection, base, one.study, NO_PROTECTION, last)
        early = _early_epoch(connection, one.study)
        if early is not None:
            rows += _rows(connection, base, one.study, EARLY_STOPPING, early)
        for name, variant in one.variants.items():
            if variant.name in there:
                found = _rows(connection, base, variant, name, variant.training.checkpoints[-1])
                epsilon, delta = facts.privacy.get(variant.name, (np.nan, np.nan))
                rows += [{**row, "epsilon": epsilon, "delta": delta} for row in found]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"epsilon": "float64", "delta": "float64"})


def _in_warehouse(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute("SELECT DISTINCT study FROM memorization").fetchall()
    return {str(name) for (name,) in rows}


def _base(connection: duckdb.DuckDBPyConnection, study: Study, flagged: Sequence[int] | None) -> _Base:
    ids = pool_ids(connection, study.name)
    everything = np.ones(len(ids), dtype=bool)
    groups = {ALL: everything}
    if flagged is not None:
        at_risk = np.isin(ids, np.asarray(flagged, dtype=np.int64))
        groups = {PROTECTED: at_risk, LEFT: ~at_risk, ALL: everything}
    thresholds, memorized = {}, {}
    for target in study.shadows.audited:
        final = _scores(connection, study, target, study.training.checkpoints[-1])
        memorized[target] = final["memorized"].to_numpy(dtype=bool)
        thresholds[target] = float(final["score"].to_numpy()[memorized[target]].min())
    return _Base(study, groups, thresholds, memorized)


def _scores(connection: duckdb.DuckDBPyConnection, study: Study, target: int, epoch: float) -> pd.DataFrame:
    """Score and memorized of an audited model's training samples at a checkpoint, rising by id."""
    query = """
        SELECT score, memorized FROM memorization WHERE study = ? AND target_seed = ? AND epoch = ? ORDER BY sample_id
    """
    return connection.execute(query, [study.name, target, epoch]).df()


def _early_epoch(connection: duckdb.DuckDBPyConnection, study: Study) -> float | None:
    """The last trained checkpoint of the recipe that is not after the prediction epoch; None if there is none.

    At a model's own trigger the other models were not kept, so that no attack could be judged there.
    """
    query = """
        SELECT min(epoch) FROM predictor_evaluation WHERE study = ? AND target_seed = ? AND is_prediction_epoch
    """
    row = connection.execute(query, [study.name, study.shadows.audited[0]]).fetchone()
    if row is None or row[0] is None:
        return None
    before = [epoch for epoch in study.training.checkpoints if 0 < epoch <= row[0]]
    return before[-1] if before else None


def _rows(
    connection: duckdb.DuckDBPyConnection, base: _Base, study: Study, mitigation: str, epoch: float
) -> list[dict[str, object]]:
    """One row a group of a study at a checkpoint."""
    models = study.shadows.models
    test = shadows_at(connection, study.name, epoch, models, part="test").gaps
    outputs = attack_outputs(connection, study, epoch)
    right, inside, attacked = outputs.gaps > 0, outputs.in_train, outputs.loo
    accuracies = (test > 0).mean(axis=1)
    now = {
        target: _scores(connection, study, target, epoch)["score"].to_numpy() >= base.thresholds[target]
        for target in base.thresholds
    }
    rows: list[dict[str, object]] = []
    for name, group in base.groups.items():
        of_group = [group[inside[target]] for target in now]  # of each audited model's training samples
        before, after = (
            np.concatenate([found[target][chosen] for target, chosen in zip(now, of_group, strict=True)])
            for found in (base.memorized, now)
        )
        scores, member = attacked[group].ravel(), inside.T[group].ravel()
        auc, tpr = np.nan, np.nan
        if tells_apart(scores, member):
            judged = evaluate(scores, member, higher_is_riskier=True)
            auc, tpr = judged.auc, judged.tpr_at_fpr_01
        trained = inside[:, group]
        of_models = [
            row[chosen].mean() for row, chosen in zip(right[:, group], trained, strict=True) if chosen.any()
        ]
        rows.append(
            {
                "study": base.study.name,
                "mitigation": mitigation,
                "sample_group": name,
                "variant": study.name,
                "epoch": float(epoch),
                "n_models": models,
                "n": int(group.sum()),
                "n_judged": len(after),
                "test_accuracy": float(accuracies.mean()),
                "test_accuracy_sd": float(accuracies.std(ddof=1)),
                "train_accuracy": float(np.mean(of_models)) if of_models else np.nan,
                "share_memorized": float(after.mean()) if len(after) else np.nan,
                "share_memorized_before": float(before.mean()) if len(after) else np.nan,
                "newly_memorized": int((after & ~before).sum()),
                "no_longer_memorized": int((before & ~after).sum()),
                "attack_auc": auc,
                "attack_tpr_at_fpr_01": tpr,
                "epsilon": np.nan,
                "delta": np.nan,
            }
        )
    return rows
