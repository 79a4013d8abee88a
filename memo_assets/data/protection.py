"""Samples at risk: what an audit says of them becomes how a protected variant is trained on them.

What belongs here: functions on data frames and arrays. What does not: the audit itself, files, training.
"""

import numpy as np
import pandas as pd

from memo_assets.config.protection import AtRisk
from memo_assets.data.errors import AuditError

AUDIT_COLUMNS = ("sample_id", "flagged", "psmi", "suspected_index")
NO_LABEL = -1
_REPLACEMENT = 21


def protected_samples(samples: pd.DataFrame, audit: pd.DataFrame, at_risk: AtRisk) -> pd.DataFrame:
    """How each flagged sample of the pool is trained on.

    Args:
        samples: sample_id, part, given_index, options (a list) of the study, pool and test.
        audit: sample_id, flagged, psmi, suspected_index (-1: none), one row per pool sample.
        at_risk: what is asked for.

    Returns:
        sample_id int64, action (drop, relabel or replace), new_index int64 (of the new label among the sample's options; -1
        where it gets none), rising by sample_id. A sample to be relabelled without another suspected label is dropped.

    Raises:
        AuditError: a column is missing, the audit is of other samples than the pool's, or it flags all of them.
    """
    if lacking := [column for column in AUDIT_COLUMNS if column not in audit]:
        raise AuditError(
            f"the audit has no column {lacking[0]}; expected {', '.join(AUDIT_COLUMNS)}: make it anew"
        )
    pool = samples.loc[samples["part"] == "pool"].set_index("sample_id").sort_index()
    found = audit.set_index("sample_id").sort_index()
    if not found.index.equals(pool.index):
        other = found.index.symmetric_difference(pool.index)
        raise AuditError(
            f"the audit has {len(found)} samples and the pool {len(pool)}, {len(other)} of them in one only or repeated; "
            "materialize the audit of the base study again"
        )
    flagged = found["flagged"].to_numpy(dtype=bool)
    if flagged.all():
        raise AuditError(f"the audit flags all {len(pool)} samples of the pool, so none is left to train on")
    ids = pool.index.to_numpy(dtype=np.int64)[flagged]
    action = np.full(len(ids), at_risk, dtype=object)
    new_index = np.full(len(ids), NO_LABEL, dtype=np.int64)
    if at_risk == "relabel":
        suspected = found["suspected_index"].to_numpy(dtype=np.int64)[flagged]
        n_options = pool["options"].map(len).to_numpy()[flagged]
        usable = (
            (suspected >= 0)
            & (suspected < n_options)
            & (suspected != pool["given_index"].to_numpy(dtype=np.int64)[flagged])
        )
        new_index[usable], action[~usable] = suspected[usable], "drop"
    return pd.DataFrame({"sample_id": ids, "action": action, "new_index": new_index})


def relabelled(samples: pd.DataFrame, protected: pd.DataFrame) -> pd.DataFrame:
    """The samples with the new labels of those that get one: given_index and given_label; all else as it was.

    Args:
        samples: of the study, rising by sample_id.
        protected: of `protected_samples`.
    """
    changes = protected[protected["action"] == "relabel"].set_index("sample_id")["new_index"]
    if changes.empty:
        return samples
    index = samples["given_index"].to_numpy().copy()
    label = samples["given_label"].to_numpy(dtype=object).copy()
    for place in np.flatnonzero(samples["sample_id"].isin(changes.index).to_numpy()):
        index[place] = changes[samples["sample_id"].iloc[place]]
        label[place] = samples["options"].iloc[place][index[place]]
    return samples.assign(given_index=index, given_label=label)


def replaced_rows(rows: np.ndarray, at_risk: np.ndarray, labels: np.ndarray, split_seed: int) -> np.ndarray:
    """A model's training samples with other ones of its own in the places of those at risk.

    Only samples that the model is trained on anyway come in, so that no model sees a sample that its split mask does not
    name: who is a member stays true of all samples that are left.

    Args:
        rows: int64 [n], the model's training samples.
        at_risk: bool [N], by sample.
        labels: int [N], given labels by sample.
        split_seed: of the model; what is drawn depends on it alone.

    Returns:
        int64 [n]; a sample at risk stays where no training sample of its label is not at risk.
    """
    rng = np.random.default_rng([split_seed, _REPLACEMENT])
    result, safe = rows.copy(), rows[~at_risk[rows]]
    for label in np.unique(labels[rows]):
        places = np.flatnonzero(at_risk[rows] & (labels[rows] == label))
        candidates = safe[labels[safe] == label]
        if len(candidates):
            result[places] = rng.choice(candidates, len(places))
    return result
