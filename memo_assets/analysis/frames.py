"""The data frames that figures draw, by SQL over the warehouse."""

from dataclasses import dataclass
from functools import cached_property

import duckdb
import pandas as pd

from memo_assets.analysis.predictors import target_prediction_epoch
from memo_assets.config import Study

# What a sample is shown as; an image out of distribution has no true label to speak of.
STATUS = "CASE WHEN canary = 'ood' THEN 'canary' ELSE label_status END AS label_status"
SHOWN = ["psmi", "loss", "logit_gap", "mahalanobis", "early_log_lira", "random"]


@dataclass(frozen=True)
class Subject:
    """One audited model: what a figure is about.

    Attributes:
        connection: on the warehouse.
        study: the study.
        target: split seed of the audited model.
    """

    connection: duckdb.DuckDBPyConnection
    study: Study
    target: int

    def frame(self, query: str, **values: object) -> pd.DataFrame:
        """Rows of a query with the parameters $study, $target and those given."""
        used = {"study": self.study.name, "target": self.target, **values}
        return self.connection.execute(
            query, {name: v for name, v in used.items() if f"${name}" in query}
        ).df()

    @cached_property
    def prediction_epoch(self) -> float | None:
        """Checkpoint at which the training loss has fallen far enough; None if it never does."""
        return target_prediction_epoch(self.connection, self.study, self.target)

    @property
    def judged_epoch(self) -> float:
        """The prediction epoch, or the last checkpoint if the loss never fell far enough."""
        epoch = self.prediction_epoch
        return self.study.training.checkpoints[-1] if epoch is None else epoch

    @cached_property
    def judged_scores(self) -> pd.DataFrame:
        """predictor, layer (null where it has none), sample_id, score of the shown predictors at the judged epoch.

        Of a predictor with layers, the last one. Several figures read these rows and none changes them.
        """
        return self.frame(
            """
            SELECT s.predictor, nullif(s.layer, 0) AS layer, s.sample_id, s.score
            FROM predictor_scores s JOIN predictor_evaluation e USING (study, target_seed, epoch, predictor, layer)
            WHERE s.study = $study AND s.target_seed = $target AND s.epoch = $epoch AND e.is_last_layer
              AND s.predictor IN (SELECT unnest($shown))
            ORDER BY list_position($shown, s.predictor), s.sample_id
            """,
            epoch=self.judged_epoch,
            shown=SHOWN,
        )

    @property
    def memorized_share(self) -> float:
        """Share of the training samples called memorized: by the quantile, or as found with eta."""
        if self.study.labels.eta is None:
            return round(1 - self.study.labels.quantile, 6)
        rows = self.frame(
            """
            SELECT avg(memorized::INTEGER) AS share FROM memorization WHERE study = $study AND target_seed = $target
            GROUP BY epoch ORDER BY epoch DESC LIMIT 1
            """
        )
        return float(rows["share"].iloc[0])


def label_scores(subject: Subject) -> pd.DataFrame:
    """epoch, score (of the attack), label_status (or canary) of every training sample at every trained checkpoint."""
    return subject.frame(
        f"""
        SELECT epoch, score, {STATUS}
        FROM memorization JOIN samples USING (study, sample_id)
        WHERE study = $study AND target_seed = $target AND epoch > 0 ORDER BY epoch, sample_id
        """
    )


def training_curves(subject: Subject) -> pd.DataFrame:
    """epoch, part, median_loss, mean_loss, accuracy of the audited model."""
    return subject.frame(
        """
        SELECT l.epoch, CASE WHEN s.part = 'test' THEN 'test' WHEN s.label_status = 'random'
                        THEN 'train, noisy labels' WHEN s.canary = 'ood' THEN 'train, canaries' ELSE 'train' END AS part,
               median(l.loss) AS median_loss, avg(l.loss) AS mean_loss,
               avg((l.logit_gap > 0)::INTEGER) AS accuracy
        FROM logits l JOIN samples s USING (study, sample_id)
        LEFT JOIN split_masks m ON m.study = l.study AND m.split_seed = l.split_seed AND m.sample_id = l.sample_id
        WHERE l.study = $study AND l.split_seed = $target AND (s.part = 'test' OR m.sample_id IS NOT NULL)
        GROUP BY ALL ORDER BY part, epoch
        """
    )


def weight_norms(subject: Subject) -> pd.DataFrame:
    """norm, epoch, value, distance of all trained weights together: of adapters, their scaled updates."""
    return subject.frame(
        """
        SELECT norm, epoch, value, distance FROM weight_norms
        WHERE study = $study AND target_seed = $target AND module = 'all' AND matrix IN ('BA', 'W')
        ORDER BY norm, epoch
        """
    )


def median_train_losses(subject: Subject) -> pd.DataFrame:
    """epoch, median_train_loss of the audited model."""
    return subject.frame(
        """
        SELECT epoch, median(loss) AS median_train_loss
        FROM logits JOIN split_masks USING (study, split_seed, sample_id)
        WHERE study = $study AND split_seed = $target GROUP BY epoch ORDER BY epoch
        """
    )


def fpr_over_epochs(subject: Subject) -> pd.DataFrame:
    """predictor, layer, epoch, fpr of the main predictors at every checkpoint; the last layer where there are any."""
    return subject.frame(
        """
        SELECT predictor, nullif(layer, 0) AS layer, epoch, fpr_at_tpr AS fpr FROM predictor_evaluation
        WHERE study = $study AND target_seed = $target AND is_last_layer AND epoch > 0
          AND predictor IN (SELECT unnest($shown))
        ORDER BY list_position($shown, predictor), epoch
        """,
        shown=SHOWN,
    )


def fpr_by_layer(subject: Subject) -> tuple[pd.DataFrame, float | None]:
    """predictor, layer, fpr of the per-layer predictors at the judged epoch; and the FPR of the loss."""
    points = subject.frame(
        """
        SELECT predictor, layer, fpr_at_tpr AS fpr FROM predictor_evaluation
        WHERE study = $study AND target_seed = $target AND epoch = $epoch
          AND predictor IN ('psmi', 'psmi_low', 'mahalanobis')
        ORDER BY predictor, layer
        """,
        epoch=subject.judged_epoch,
    )
    loss = subject.frame(
        """
        SELECT fpr_at_tpr AS fpr FROM predictor_evaluation
        WHERE study = $study AND target_seed = $target AND epoch = $epoch AND predictor = 'loss'
        """,
        epoch=subject.judged_epoch,
    )
    return points, None if loss.empty else float(loss["fpr"].iloc[0])


def dynamics(subject: Subject) -> pd.DataFrame:
    """epoch, group, quantity, q25, median, q75: PSMI, log-LiRA and loss of samples predicted safe and at risk.

    A sample is predicted at risk if its PSMI in the last layer is below 0 at the judged epoch.
    """
    return subject.frame(
        """
        WITH last_psmi AS (
            SELECT epoch, sample_id, score AS value FROM predictor_scores
            WHERE study = $study AND target_seed = $target AND predictor = 'psmi'
            QUALIFY layer = max(layer) OVER ()
        ), flags AS (
            SELECT sample_id, CASE WHEN value < 0 THEN 'predicted at risk' ELSE 'predicted safe' END AS "group"
            FROM last_psmi WHERE epoch = $epoch
        ), traced AS (
            SELECT 'PSMI' AS quantity, * FROM last_psmi
            UNION ALL SELECT 'log-LiRA', epoch, sample_id, log_lira_clipped FROM memorization
                      WHERE study = $study AND target_seed = $target
            UNION ALL SELECT 'Loss', epoch, sample_id, loss FROM logits
                      JOIN split_masks USING (study, split_seed, sample_id)
                      WHERE study = $study AND split_seed = $target
        )
        SELECT epoch, "group", quantity, quantile_cont(value, .25) AS q25, median(value) AS median,
               quantile_cont(value, .75) AS q75
        FROM traced JOIN flags USING (sample_id) GROUP BY ALL ORDER BY quantity, "group", epoch
        """,
        epoch=subject.judged_epoch,
    )


def best_test_epoch(subject: Subject) -> float:
    """The first checkpoint with the best test accuracy of the audited model."""
    curves = training_curves(subject)
    test = curves[curves["part"] == "test"].sort_values("epoch")
    return float(test["epoch"].iloc[int(test["accuracy"].argmax())])


def default_rule(subject: Subject) -> tuple[float, float] | None:
    """(FPR, TPR) of the rule PSMI < 0 in the last layer at the judged epoch."""
    rows = subject.frame(
        """
        SELECT rule_fpr, rule_tpr FROM predictor_evaluation
        WHERE study = $study AND target_seed = $target AND epoch = $epoch AND predictor = 'psmi' AND is_last_layer
        """,
        epoch=subject.judged_epoch,
    )
    return None if rows.empty else (float(rows["rule_fpr"].iloc[0]), float(rows["rule_tpr"].iloc[0]))


def attack_scores(subject: Subject) -> pd.DataFrame:
    """attack, sample_id, score, memorized of every training sample at the last checkpoint, in the order of ids."""
    return subject.frame(
        """
        SELECT attack, sample_id, score, memorized FROM memorization_scores
        WHERE study = $study AND target_seed = $target QUALIFY epoch = max(epoch) OVER () ORDER BY attack, sample_id
        """
    )


def population_ranks(subject: Subject) -> pd.DataFrame:
    """counterfactual, attack_success_rate, label_status of every pool sample at the last checkpoint."""
    return subject.frame(
        f"""
        SELECT counterfactual, attack_success_rate, {STATUS}
        FROM population_memorization JOIN samples USING (study, sample_id)
        WHERE study = $study QUALIFY epoch = max(epoch) OVER () ORDER BY sample_id
        """
    )
