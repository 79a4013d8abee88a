"""How the error of a prediction changes with what is called memorized and with what is asked of the predictor."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import numpy as np
import pandas as pd

from memo_assets.analysis.evaluation import TPR_OBJECTIVE, final_labels
from memo_assets.analysis.frames import Subject
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.measures.evaluation import evaluate, memorized_labels, operating_point, roc

SHARES = (0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25)
OBJECTIVES = tuple(round(0.05 * step, 2) for step in range(10, 20))
ETAS = (4.0, 6.0, 8.0, 10.0)
ETA_RANGE = tuple(float(eta) for eta in range(1, 11))


def fpr_by_share(subject: Subject, shares: Iterable[float] = SHARES) -> pd.DataFrame:
    """predictor, layer, x, fpr: x is the share of samples called memorized, by score of the study's attack at the last checkpoint.

    Args:
        subject: the audited model.
        shares: each in (0, 1).
    """
    final = subject.frame(
        """
        SELECT sample_id, score FROM memorization
        WHERE study = $study AND target_seed = $target QUALIFY epoch = max(epoch) OVER ()
        """
    ).set_index("sample_id")["score"]
    labels = {
        share: pd.Series(memorized_labels(final.to_numpy(), quantile=1 - share), final.index)
        for share in shares
    }
    return _fprs(subject.judged_scores, labels)


def fpr_by_label_epoch(subject: Subject) -> pd.DataFrame:
    """predictor, layer, x, fpr: x is the checkpoint whose labels are predicted, the untrained model left out."""
    rows = subject.frame(
        """
        SELECT epoch, sample_id, memorized FROM memorization
        WHERE study = $study AND target_seed = $target AND epoch > 0 ORDER BY epoch, sample_id
        """
    )
    labels = {
        cast("float", epoch): group.set_index("sample_id")["memorized"]
        for epoch, group in rows.groupby("epoch")
    }
    return _fprs(subject.judged_scores, labels)


def fpr_by_objective(subject: Subject, objectives: Iterable[float] = OBJECTIVES) -> pd.DataFrame:
    """predictor, layer, x, fpr: x is the share of memorized samples that must be found.

    Args:
        subject: the audited model.
        objectives: each in [0, 1).
    """
    scores, labels = (
        subject.judged_scores,
        final_labels(subject.connection, subject.study.name, subject.target),
    )
    return pd.concat(
        [_fprs(scores, {objective: labels}, tpr=objective) for objective in objectives], ignore_index=True
    )


def roc_by_eta(subject: Subject, etas: Iterable[float] = ETAS) -> pd.DataFrame:
    """eta, n_memorized, predictor, layer, fpr, tpr, auc: ROC curves where log-LiRA of at least eta means memorized.

    Log-LiRA is that of the last checkpoint: of the study's attack, or of online LiRA where that is none. An eta that does
    not split the samples in two has no rows.

    Args:
        subject: the audited model.
        etas: thresholds in nats.
    """
    scores, frames = subject.judged_scores, [pd.DataFrame(columns=[*_BY_ETA, "fpr", "tpr", "auc"])]
    for eta, labels in _labels_by_eta(subject, etas).items():
        curves = roc_of(scores, labels)
        if not curves.empty:
            curves.insert(0, "eta", eta)
            curves.insert(1, "n_memorized", int(labels.sum()))
            frames.append(curves)
    return pd.concat(frames[1:] or frames, ignore_index=True)


def roc_of(scores: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """predictor, layer, fpr, tpr, auc: the points of a ROC curve of each predictor.

    Args:
        scores: predictor, layer, sample_id, score.
        labels: what is to be told, bool by sample_id; a predictor whose finite scores it does not split has no rows.
    """
    frames = [pd.DataFrame(columns=["predictor", "layer", "fpr", "tpr", "auc"])]
    for predictor, layer, values, positive in _split_scores(scores, labels):
        points = roc_points(values, positive, higher_is_riskier=PREDICTORS[predictor].higher_is_riskier)
        points.insert(0, "predictor", predictor)
        points.insert(1, "layer", layer)
        frames.append(points)
    return pd.concat(frames[1:] or frames, ignore_index=True)


def roc_points(scores: np.ndarray, positive: np.ndarray, *, higher_is_riskier: bool) -> pd.DataFrame:
    """fpr, tpr, auc (the same in all rows): the points of one ROC curve.

    Args:
        scores: float64 [N]; those that are not finite are left out.
        positive: bool [N], what is to be told; both kinds must be among the finite scores.
        higher_is_riskier: whether positives are expected to have high scores.
    """
    fpr, tpr, _ = roc(scores, positive, higher_is_riskier=higher_is_riskier)
    auc = evaluate(scores, positive, higher_is_riskier=higher_is_riskier).auc
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "auc": auc})


def tells_apart(scores: np.ndarray, positive: np.ndarray) -> bool:
    """Whether both kinds are among the finite scores, so that there is something to judge."""
    kept = positive[np.isfinite(scores)]
    return bool(kept.any() and not kept.all())


def auc_by_eta(subject: Subject, etas: Iterable[float] = ETA_RANGE) -> pd.DataFrame:
    """eta, n_memorized, predictor, layer, auc, as in `roc_by_eta`.

    Args:
        subject: the audited model.
        etas: thresholds in nats.
    """
    rows = []
    for eta, labels in _labels_by_eta(subject, etas).items():
        for predictor, layer, values, memorized in _split_scores(subject.judged_scores, labels):
            riskier = PREDICTORS[predictor].higher_is_riskier
            auc = evaluate(values, memorized, higher_is_riskier=riskier).auc
            rows.append((eta, int(labels.sum()), predictor, layer, auc))
    return pd.DataFrame(rows, columns=[*_BY_ETA, "auc"])


def rule_by_eta(subject: Subject, etas: Iterable[float] = ETAS) -> dict[float, tuple[float, float]]:
    """(FPR, TPR) of the rule PSMI < 0 in the last layer at the judged epoch, by eta.

    Args:
        subject: the audited model.
        etas: thresholds in nats.
    """
    scores = subject.judged_scores
    return {
        eta: operating_point(values < 0, memorized)
        for eta, labels in _labels_by_eta(subject, etas).items()
        for predictor, _, values, memorized in _split_scores(scores, labels)
        if predictor == "psmi"
    }


_BY_ETA = ["eta", "n_memorized", "predictor", "layer"]


def _labels_by_eta(subject: Subject, etas: Iterable[float]) -> dict[float, pd.Series]:
    column = "log_lira" if subject.study.labels.attack.endswith("rmia") else "score"
    final = subject.frame(
        f"""
        SELECT sample_id, {column} AS score FROM memorization
        WHERE study = $study AND target_seed = $target QUALIFY epoch = max(epoch) OVER ()
        """
    ).set_index("sample_id")["score"]
    return {eta: final >= eta for eta in etas}


def _split_scores(
    scores: pd.DataFrame, labels: pd.Series
) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """Predictor, layer, scores and labels, where the samples with a finite score are of both kinds."""
    labelled = scores.assign(memorized=labels.loc[scores["sample_id"]].to_numpy(dtype=bool))
    for key, group in labelled.groupby(["predictor", "layer"], sort=False, dropna=False):
        predictor, layer = cast("tuple[str, float]", key)
        values, memorized = group["score"].to_numpy(dtype=np.float64), group["memorized"].to_numpy()
        if tells_apart(values, memorized):
            yield predictor, layer, values, memorized


def _fprs(
    scores: pd.DataFrame, labels: Mapping[float, pd.Series], *, tpr: float = TPR_OBJECTIVE
) -> pd.DataFrame:
    """One row per predictor and key of `labels`, with nan where labels do not split the samples in two."""
    rows = []
    for key, group in scores.groupby(["predictor", "layer"], sort=False, dropna=False):
        predictor, layer = cast("tuple[str, float]", key)
        values = group["score"].to_numpy(dtype=np.float64)
        for x, series in labels.items():
            memorized = series.loc[group["sample_id"]].to_numpy(dtype=bool)
            fpr = np.nan
            if tells_apart(values, memorized):
                riskier = PREDICTORS[predictor].higher_is_riskier
                fpr = evaluate(values, memorized, higher_is_riskier=riskier, tpr=tpr).fpr_at_tpr
            rows.append({"predictor": predictor, "layer": layer, "x": x, "fpr": fpr})
    return pd.DataFrame(rows, columns=["predictor", "layer", "x", "fpr"])
