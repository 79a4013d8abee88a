"""What is known of one audited model: training and label facts, how the predictors did, the samples most at risk."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from memo_assets.analysis.frames import STATUS, Subject


def at_risk(subject: Subject, limit: int = 25) -> pd.DataFrame:
    """The training samples with the lowest PSMI in the last layer at the judged epoch, with what became of them."""
    return subject.frame(
        f"""
        SELECT p.sample_id, s.text, s.given_label,
               CASE WHEN canary = 'ood' THEN NULL ELSE s.true_label END AS true_label, {STATUS}, p.score AS psmi,
               m.log_lira_clipped AS log_lira, m.memorized
        FROM (SELECT * FROM predictor_scores
              WHERE study = $study AND target_seed = $target AND predictor = 'psmi' AND epoch = $epoch
              QUALIFY layer = max(layer) OVER ()) p
        JOIN samples s USING (study, sample_id)
        JOIN (SELECT * FROM memorization WHERE study = $study AND target_seed = $target
              QUALIFY epoch = max(epoch) OVER ()) m USING (study, sample_id)
        ORDER BY p.score LIMIT $limit
        """,
        epoch=subject.judged_epoch,
        limit=limit,
    )


@dataclass(frozen=True)
class Facts:
    """Training facts and label facts of one audited model at the last checkpoint.

    Attributes:
        samples, pool, test, train: numbers of samples; train = those the audited model was trained on.
        noisy_share: share of training samples whose label was redrawn at random.
        loss_at_start, loss_at_end: median training loss, nats.
        train_accuracy, test_accuracy: share of samples that the given label fits.
        noisy_in_top: share of the redrawn training samples that are memorized; None without any.
        wrong_in_top: share of the training samples with a wrong label that are memorized; None without any.
        canaries: training samples that are canaries of either kind.
        canaries_in_top: share of them that are memorized; None without any.
    """

    samples: int
    pool: int
    test: int
    train: int
    noisy_share: float
    loss_at_start: float
    loss_at_end: float
    train_accuracy: float
    test_accuracy: float
    noisy_in_top: float | None
    wrong_in_top: float | None
    canaries: int
    canaries_in_top: float | None


def facts(subject: Subject) -> Facts:
    """Training facts and label facts of the audited model."""
    counts = subject.frame(
        """
        SELECT count(*) AS samples, count(*) FILTER (part = 'pool') AS pool, count(*) FILTER (part = 'test') AS test
        FROM samples WHERE study = $study
        """
    ).iloc[0]
    labels = subject.frame(
        """
        SELECT count(*) AS train, avg((label_status = 'random')::INTEGER) AS noisy_share,
               avg(memorized::INTEGER) FILTER (label_status = 'random') AS noisy_in_top,
               avg(memorized::INTEGER) FILTER (given_label != true_label) AS wrong_in_top,
               count(canary) AS canaries, avg(memorized::INTEGER) FILTER (canary IS NOT NULL) AS canaries_in_top
        FROM memorization JOIN samples USING (study, sample_id)
        WHERE study = $study AND target_seed = $target
          AND epoch = (SELECT max(epoch) FROM memorization WHERE study = $study AND target_seed = $target)
        """
    ).iloc[0]
    curves = subject.frame(
        """
        SELECT part, epoch, median_loss, accuracy FROM training_measures
        WHERE study = $study AND split_seed = $target ORDER BY epoch
        """
    )
    train, test = (curves[curves["part"] == part] for part in ("train", "test"))
    return Facts(
        samples=int(counts["samples"]),
        pool=int(counts["pool"]),
        test=int(counts["test"]),
        train=int(labels["train"]),
        noisy_share=float(labels["noisy_share"]),
        loss_at_start=float(train["median_loss"].iloc[0]),
        loss_at_end=float(train["median_loss"].iloc[-1]),
        train_accuracy=float(train["accuracy"].iloc[-1]),
        test_accuracy=float(test["accuracy"].iloc[-1]),
        noisy_in_top=_number(labels["noisy_in_top"]),
        wrong_in_top=_number(labels["wrong_in_top"]),
        canaries=int(labels["canaries"]),
        canaries_in_top=_number(labels["canaries_in_top"]),
    )


def results(subject: Subject) -> pd.DataFrame:
    """Per predictor at the judged epoch: last and best layer, AUC, FPR at TPR .75, TPR at FPR 1 %, default rule."""
    return subject.frame(
        """
        SELECT predictor, layer, is_last_layer, auc, fpr_at_tpr, tpr_at_fpr_01, precision_at_k, rule_fpr, rule_tpr,
               layer > 0 AND auc = max(auc) OVER (PARTITION BY predictor) AS is_best_layer
        FROM predictor_evaluation
        WHERE study = $study AND target_seed = $target AND epoch = $epoch
        QUALIFY is_last_layer OR is_best_layer
        ORDER BY auc DESC, predictor, layer
        """,
        epoch=subject.judged_epoch,
    )


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
