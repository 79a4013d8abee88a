"""How canaries stand out: to the predictors, and to the attack on models that were trained on them."""

import numpy as np
import pandas as pd

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.labels import attack_outputs
from memo_assets.analysis.sweeps import judged_scores, roc_of
from memo_assets.measures.evaluation import evaluate, roc
from memo_assets.store.matrices import pool_ids


def told_by_predictors(subject: Subject) -> pd.DataFrame:
    """predictor, layer, fpr, tpr, auc: ROC curves that tell canaries from the other training samples at the judged epoch.

    Canaries of kind clean are samples like any other: they have no rows.

    Args:
        subject: the audited model.
    """
    is_ood = subject.study.canaries is not None and subject.study.canaries.kind == "ood"
    labels = subject.frame("SELECT sample_id, canary = 'ood' AS canary FROM samples WHERE study = $study")
    labels = labels.set_index("sample_id")["canary"].fillna(False).astype(bool)
    return roc_of(judged_scores(subject), labels & is_ood)


def told_by_the_attack(
    subject: Subject, *, groups: tuple[str, str] = ("canaries", "other samples")
) -> pd.DataFrame:
    """group, fpr, tpr, auc: ROC curves that tell whether a model was trained on a sample, by leave-one-out LiRA.

    Every pair of a model and a sample of the pool is a point, at the last checkpoint; without those whose score is not
    finite, since a sample has too few other models with or without it.

    Args:
        subject: its study's models are attacked, whichever is audited.
        groups: names of the curves of canaries and of other samples.
    """
    study, connection = subject.study, subject.connection
    outputs = attack_outputs(connection, study, study.training.checkpoints[-1])
    is_canary = subject.frame(
        """
        SELECT sample_id, canary IS NOT NULL AS canary FROM samples
        WHERE study = $study AND part = 'pool' ORDER BY sample_id
        """
    )
    assert np.array_equal(is_canary["sample_id"], pool_ids(connection, study.name))
    frames = [pd.DataFrame(columns=["group", "fpr", "tpr", "auc"])]
    for group, rows in zip(groups, (is_canary["canary"], ~is_canary["canary"]), strict=True):
        scores, inside = outputs.loo[rows.to_numpy()].ravel(), outputs.in_train.T[rows.to_numpy()].ravel()
        if inside[np.isfinite(scores)].all() or not inside[np.isfinite(scores)].any():
            continue
        fpr, tpr, _ = roc(scores, inside, higher_is_riskier=True)
        auc = evaluate(scores, inside, higher_is_riskier=True).auc
        frames.append(pd.DataFrame({"group": group, "fpr": fpr, "tpr": tpr, "auc": auc}))
    return pd.concat(frames[1:] or frames, ignore_index=True)
