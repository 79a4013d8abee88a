"""The warehouse's tables: names, columns, types, keys and a sentence on each.

What belongs here: the one description of every table, from which the DDL, the comments in the database, the
column schema shown in the web UI and the documentation are made. What does not: queries.
"""

from dataclasses import dataclass

from memo_assets.store.views import VIEWS


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """One table. `key` is unique; it is a PRIMARY KEY in the database unless `bulk`.

    Bulk tables hold a row per model, epoch and sample. An index on them would cost more than the load, so
    their key is checked while loading (`store.load`).
    """

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    bulk: bool = False


_STUDY = Column("study", "VARCHAR", "Name of the study.")
_SEED = Column("split_seed", "INTEGER", "Split seed: number of the model within the study.")
_TARGET = Column("target_seed", "INTEGER", "Split seed of the audited (target) model.")
_EPOCH = Column("epoch", "DOUBLE", "Checkpoint, in passes over the model's training samples; 0 = untrained.")
_SAMPLE = Column("sample_id", "BIGINT", "Position of the sample in the raw data set; stable.")
_PREDICTOR = Column("predictor", "VARCHAR", "Name of the predictor, see the README.")
_LAYER = Column("layer", "SMALLINT", "Layer 1..L of a per-layer predictor; 0 for predictors without a layer.")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "samples",
            "One row per sample of a study.",
            ("study", "sample_id"),
            (
                _STUDY,
                _SAMPLE,
                Column("item_id", "VARCHAR", "The sample's id in its source."),
                Column("item_group", "VARCHAR", "Its group there, such as a subject; null without groups."),
                Column(
                    "part",
                    "VARCHAR",
                    "pool (models train on random shares of it) or test (never trained on).",
                ),
                Column("label_status", "VARCHAR", "true, or random if label noise redrew the label."),
                Column(
                    "canary", "VARCHAR", "clean or ood if the sample is a canary of that kind; else null."
                ),
                Column("text", "VARCHAR", "The text to classify; null for images."),
                Column("prompt", "VARCHAR", "What the model reads before the answer; null for images."),
                Column("options", "VARCHAR[]", "All answers of the sample, in order."),
                Column("true_label", "VARCHAR", "Label in the source."),
                Column("given_label", "VARCHAR", "Label the models are trained on."),
                Column("true_index", "SMALLINT", "Position of true_label in options, from 0."),
                Column("given_index", "SMALLINT", "Position of given_label in options, from 0."),
                Column("content_hash", "VARCHAR", "SHA-256 of what the model sees and of the given label."),
            ),
        ),
        Table(
            "split_masks",
            "Which samples each model was trained on; a sample of the pool without a row was held out.",
            ("study", "split_seed", "sample_id"),
            (
                _STUDY,
                _SEED,
                _SAMPLE,
                Column("position", "INTEGER", "Position in the order of the draw, from 0."),
            ),
            bulk=True,
        ),
        Table(
            "checkpoints",
            "One row per model and checkpoint: facts of the training run.",
            ("study", "split_seed", "epoch"),
            (
                _STUDY,
                _SEED,
                _EPOCH,
                Column("step", "INTEGER", "Optimizer steps done."),
                Column(
                    "train_loss_mean",
                    "DOUBLE",
                    "Mean loss of batches since the recipe's last checkpoint; null at 0.",
                ),
                Column(
                    "train_loss_median",
                    "DOUBLE",
                    "Median loss of samples since the recipe's last checkpoint; null at 0.",
                ),
                Column("learning_rate", "DOUBLE", "Learning rate of the last step."),
                Column(
                    "is_trigger",
                    "BOOLEAN",
                    "Whether the model met its trigger (training.trigger) at this step; it may then be a checkpoint of this model "
                    "alone, which has no labels.",
                ),
            ),
        ),
        Table(
            "logits",
            "One row per model, checkpoint and sample: the forward pass.",
            ("study", "split_seed", "epoch", "sample_id"),
            (
                _STUDY,
                _SEED,
                _EPOCH,
                _SAMPLE,
                Column(
                    "loss", "FLOAT", "Cross-entropy of the given label over the full vocabulary, in nats."
                ),
                Column(
                    "logit_gap", "FLOAT", "Logit of the given label minus the largest logit of the others."
                ),
                Column("option_logits", "FLOAT[]", "Logits of the sample's options, in their order."),
                Column(
                    "query_gaps",
                    "FLOAT[]",
                    "Logit gaps on the image and on its shifted or mirrored copies (labels.queries); null without such queries.",
                ),
            ),
            bulk=True,
        ),
        Table(
            "memorization",
            "Ground truth: memorization of every training sample of a target model, at every checkpoint.",
            ("study", "target_seed", "epoch", "sample_id"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                _SAMPLE,
                Column("log_lira", "DOUBLE", "Online log-likelihood ratio in nats; large = memorized."),
                Column("log_lira_clipped", "DOUBLE", "The same, clipped to [-100, 100]."),
                Column(
                    "score", "DOUBLE", "Score of the study's attack (labels.attack); by default log_lira."
                ),
                Column(
                    "percentile", "DOUBLE", "Share of the target's training samples with a smaller score."
                ),
                Column(
                    "memorized",
                    "BOOLEAN",
                    "Whether score is at or above the study's eta, or else its quantile.",
                ),
                Column("n_in", "INTEGER", "Shadow models trained with the sample."),
                Column("n_out", "INTEGER", "Shadow models trained without the sample."),
            ),
        ),
        Table(
            "memorization_scores",
            "Scores of all attacks on every training sample of a target model, at every checkpoint.",
            ("study", "target_seed", "epoch", "attack", "sample_id"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                Column("attack", "VARCHAR", "Name of the attack, as in labels.attack."),
                _SAMPLE,
                Column(
                    "score",
                    "DOUBLE",
                    "Its score, large = memorized: nats for LiRA, a share for RMIA; null without enough models.",
                ),
                Column(
                    "memorized",
                    "BOOLEAN",
                    "Whether the score is in the attack's own top share, as large as the study's labels make it.",
                ),
            ),
            bulk=True,
        ),
        Table(
            "label_stability",
            "How well labels from some shadow models agree with labels from others, at the last checkpoint.",
            ("study", "target_seed", "comparison", "n_shadows", "draw"),
            (
                _STUDY,
                _TARGET,
                Column(
                    "comparison",
                    "VARCHAR",
                    "disjoint (two sets without a common model) or all (a set and all shadow models).",
                ),
                Column("n_shadows", "INTEGER", "Shadow models in a set, the target left out."),
                Column("draw", "INTEGER", "Number of the random draw, from 0."),
                Column(
                    "agreement", "DOUBLE", "Share of one set's memorized samples that the other finds (Dice)."
                ),
                Column("jaccard", "DOUBLE", "Memorized by both over memorized by either."),
                Column("spearman", "DOUBLE", "Rank correlation of the scores."),
                Column("scored", "DOUBLE", "Share of the target's training samples with both scores."),
            ),
        ),
        Table(
            "population_memorization",
            "Average vulnerability of a sample over all models of a study, at every checkpoint.",
            ("study", "epoch", "sample_id"),
            (
                _STUDY,
                _EPOCH,
                _SAMPLE,
                Column("counterfactual", "DOUBLE", "Mean logit gap trained with it minus mean without it."),
                Column("simplicity", "DOUBLE", "Sum of the two means; large = easy."),
                Column(
                    "attack_success_rate", "DOUBLE", "Share of models whose membership LiRA guesses right."
                ),
                Column("mean_gap", "DOUBLE", "Mean logit gap over all models."),
                Column("sd_gap", "DOUBLE", "Standard deviation of the logit gap over all models."),
                Column("mean_loss", "DOUBLE", "Mean loss over all models, in nats."),
            ),
        ),
        Table(
            "predictor_scores",
            "Early scores of every training sample of a target model.",
            ("study", "target_seed", "epoch", "predictor", "layer", "sample_id"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                _PREDICTOR,
                _LAYER,
                _SAMPLE,
                Column("score", "DOUBLE", "The score; the README says which end of it is at risk."),
            ),
            bulk=True,
        ),
        Table(
            "layer_summary",
            "Figures of a whole layer of a target model: sliced mutual information, directions of PSMI.",
            ("study", "target_seed", "epoch", "layer", "measure"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                _LAYER,
                Column(
                    "measure",
                    "VARCHAR",
                    "smi (mean over directions), smi_low, smi_high (1 % and 99 %); psmi_directions.",
                ),
                Column(
                    "value",
                    "DOUBLE",
                    "Mutual information with the given label, in nats; number of directions.",
                ),
            ),
        ),
        Table(
            "weight_norms",
            "Norms of a target model's trained weights at a checkpoint, and their distances from step 0.",
            ("study", "target_seed", "epoch", "module", "matrix", "norm"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                Column(
                    "module", "VARCHAR", "Name of the module; all: the block-diagonal matrix of all of them."
                ),
                Column(
                    "matrix", "VARCHAR", "LoRA factors A and B, BA for their scaled product; W without LoRA."
                ),
                Column("norm", "VARCHAR", "frobenius, nuclear, spectral or infinity."),
                Column("value", "DOUBLE", "The norm."),
                Column("distance", "DOUBLE", "The norm of the difference from step 0."),
            ),
        ),
        Table(
            "predictor_evaluation",
            "Each predictor at each checkpoint, judged by the memorization labels of the last checkpoint.",
            ("study", "target_seed", "epoch", "predictor", "layer"),
            (
                _STUDY,
                _TARGET,
                _EPOCH,
                _PREDICTOR,
                _LAYER,
                Column("auc", "DOUBLE", "Area under the ROC curve; .5 = chance."),
                Column("fpr_at_tpr", "DOUBLE", "False positive rate at the first point with TPR > .75."),
                Column("threshold_at_tpr", "DOUBLE", "The score at that point."),
                Column("tpr_at_fpr_001", "DOUBLE", "True positive rate at a false positive rate of .001."),
                Column("tpr_at_fpr_01", "DOUBLE", "True positive rate at a false positive rate of .01."),
                Column("precision_at_k", "DOUBLE", "Share memorized among the n_memorized riskiest samples."),
                Column(
                    "rule_fpr",
                    "DOUBLE",
                    "False positive rate of the rule PSMI < 0; null for other predictors.",
                ),
                Column(
                    "rule_tpr",
                    "DOUBLE",
                    "True positive rate of the rule PSMI < 0; null for other predictors.",
                ),
                Column("n", "INTEGER", "Training samples of the target."),
                Column("n_memorized", "INTEGER", "Memorized ones among them."),
                Column(
                    "is_prediction_epoch", "BOOLEAN", "Whether the loss has just fallen enough to predict."
                ),
                Column("is_last_layer", "BOOLEAN", "Whether this is the last layer; true without layers."),
            ),
        ),
    )
}


def ddl() -> list[str]:
    """SQL statements that make every table, column and view that is not there yet, with comments."""
    statements = []
    for table in TABLES.values():
        columns = [f"{column.name} {column.type}" for column in table.columns]
        if not table.bulk:
            columns.append(f"PRIMARY KEY ({', '.join(table.key)})")
        statements.append(f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)})")
        # A warehouse of an earlier version gains the columns that are new.
        statements.extend(
            f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column.name} {column.type}"
            for column in table.columns
        )
        key = f" Key: ({', '.join(table.key)})."
        statements.append(f"COMMENT ON TABLE {table.name} IS {_quote(table.comment + key)}")
        statements.extend(
            f"COMMENT ON COLUMN {table.name}.{column.name} IS {_quote(column.comment)}"
            for column in table.columns
        )
    for name, (query, comment) in VIEWS.items():
        statements.append(f"CREATE OR REPLACE VIEW {name} AS {query}")
        statements.append(f"COMMENT ON VIEW {name} IS {_quote(comment)}")
    return statements


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
