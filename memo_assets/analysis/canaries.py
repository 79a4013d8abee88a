"""How canaries stand out: to the predictors, and to the attack on models that were trained on them."""

import numpy as np
import pandas as pd

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.labels import attack_outputs
from memo_assets.analysis.sweeps import roc_of, roc_points, tells_apart
from memo_assets.store.matrices import pool_ids


def told_by_predictors(subject: Subject) -> pd.DataFrame:
    """predictor, layer, fpr, tpr, auc: ROC curves that tell canaries from the other training samples at the judged epoch.

    Canaries of kind clean are samples like any other: they have no rows.

    Args:
        subject: the audited model.
    """
    query = "SELECT sample_id, canary IS NOT DISTINCT FROM 'ood' AS is_ood FROM samples WHERE study = $study"
    return roc_of(subject.judged_scores, subject.frame(query).set_index("sample_id")["is_ood"])


def told_by_the_attack(subject: Subject) -> pd.DataFrame:
    """Group ('canaries' or 'other samples'), fpr, tpr, auc: ROC curves that tell models trained on a sample from others.

    By leave-one-out LiRA.

    Every pair of a model and a sample of the pool is a point, at the last checkpoint; without those whose score is not
    finite, since a sample has too few other models with or without it.

    Args:
        subject: its study's models are attacked, whichever is audited.
    """
    study, connection = subject.study, subject.connection
    outputs = attack_outputs(connection, study, study.training.checkpoints[-1])
    query = "SELECT sample_id FROM samples WHERE study = $study AND canary IS NOT NULL"
    is_canary = np.isin(pool_ids(connection, study.name), subject.frame(query)["sample_id"])
    frames = [pd.DataFrame(columns=["group", "fpr", "tpr", "auc"])]
    for group, rows in (("canaries", is_canary), ("other samples", ~is_canary)):
        scores, inside = outputs.loo[rows].ravel(), outputs.in_train.T[rows].ravel()
        if tells_apart(scores, inside):
            frames.append(roc_points(scores, inside, higher_is_riskier=True).assign(group=group))
    return pd.concat(frames[1:] or frames, ignore_index=True)
