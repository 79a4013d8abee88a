"""Tables that assets compute: labels, scores, and how well scores tell labels."""

from memo_assets.store.description import (
    EPOCH,
    LAYER,
    NATS,
    PREDICTOR,
    SAMPLE,
    SHARE,
    STUDY,
    TARGET,
    Column,
    Table,
)

COMPUTED_TABLES = (
    Table(
        "memorization",
        "Ground truth: memorization of every training sample of a target model, at every checkpoint.",
        ("study", "target_seed", "epoch", "sample_id"),
        (
            STUDY,
            TARGET,
            EPOCH,
            SAMPLE,
            Column(
                "log_lira",
                "DOUBLE",
                "Log-likelihood ratio of the attack LiRA (online): how surely it can tell that the model was trained on the "
                "sample; large = memorized.",
                NATS,
            ),
            Column("log_lira_clipped", "DOUBLE", "The same, clipped to [-100, 100].", NATS),
            Column(
                "score",
                "DOUBLE",
                "Score of the study's attack (labels.attack), large = memorized; by default log_lira.",
                "nats for LiRA, share for RMIA",
            ),
            Column(
                "percentile", "DOUBLE", "Share of the target's training samples with a smaller score.", SHARE
            ),
            Column(
                "memorized",
                "BOOLEAN",
                "Whether score is at or above the study's threshold: labels.eta, or else the quantile labels.quantile.",
            ),
            Column("n_in", "INTEGER", "Shadow models trained with the sample.", "models"),
            Column("n_out", "INTEGER", "Shadow models trained without the sample.", "models"),
        ),
        asset="memorization",
    ),
    Table(
        "memorization_scores",
        "Scores of all attacks on every training sample of a target model, at every checkpoint.",
        ("study", "target_seed", "epoch", "attack", "sample_id"),
        (
            STUDY,
            TARGET,
            EPOCH,
            Column("attack", "VARCHAR", "Name of the attack, as in labels.attack."),
            SAMPLE,
            Column(
                "score",
                "DOUBLE",
                "Its score, large = memorized; null without enough models.",
                "nats for LiRA, share for RMIA",
            ),
            Column(
                "memorized",
                "BOOLEAN",
                "Whether the score is in the attack's own top share, as large as the study's labels make it.",
            ),
        ),
        asset="memorization",
        indexed=False,
    ),
    Table(
        "label_stability",
        "How well labels from some shadow models agree with labels from others, at the last checkpoint.",
        ("study", "target_seed", "comparison", "n_shadows", "draw"),
        (
            STUDY,
            TARGET,
            Column(
                "comparison",
                "VARCHAR",
                "disjoint (two sets without a common model) or all (a set and all shadow models).",
            ),
            Column("n_shadows", "INTEGER", "Shadow models in a set, the target left out.", "models"),
            Column("draw", "INTEGER", "Number of the random draw, from 0."),
            Column(
                "agreement",
                "DOUBLE",
                "Share of one set's memorized samples that the other finds (Dice).",
                SHARE,
            ),
            Column("jaccard", "DOUBLE", "Memorized by both over memorized by either.", SHARE),
            Column("spearman", "DOUBLE", "Rank correlation of the scores, -1 to 1."),
            Column("scored", "DOUBLE", "Share of the target's training samples with both scores.", SHARE),
        ),
        asset="label_stability",
    ),
    Table(
        "memorization_skewness",
        "How unevenly memorization is spread over a target model's training samples, by the study's attack.",
        ("study", "target_seed", "over", "value", "measure"),
        (
            STUDY,
            TARGET,
            Column(
                "over",
                "VARCHAR",
                "What is varied: epoch; size (a random part of the samples at the last checkpoint; no model is trained anew on "
                "fewer); similarity (groups by similarity to the nearest other pool sample, at the last checkpoint).",
            ),
            Column(
                "value",
                "DOUBLE",
                "Its value: the checkpoint, the number of samples, or the group's median similarity (cosine, 0 to 1).",
            ),
            Column(
                "measure",
                "VARCHAR",
                "skewness (G1), mean, top_1_share and top_10_share (what the highest 1 % and 10 % hold of all positive scores), "
                "gini (of positive scores; others count as 0).",
            ),
            Column(
                "estimate",
                "DOUBLE",
                "The measure of the scores, clipped to [-100, 100]; null with fewer than 20, or where it is undefined.",
            ),
            Column("low", "DOUBLE", "Lower end of its 95 % bootstrap interval over samples."),
            Column("high", "DOUBLE", "Upper end of the interval."),
            Column("n", "INTEGER", "Samples with a score.", "samples"),
        ),
        asset="memorization_skewness",
    ),
    Table(
        "answer_variation",
        "What a target model answers at the last checkpoint to its training questions, before and after the right option's text "
        "is replaced by 'None of the other answers'. Only studies whose options stand for texts have rows.",
        ("study", "target_seed", "sample_id"),
        (
            STUDY,
            TARGET,
            SAMPLE,
            Column(
                "outcome",
                "VARCHAR",
                "varied; else why the question is left out: right option or other option, the one that speaks of the others.",
            ),
            Column(
                "gap", "DOUBLE", "Logit of the true option minus the largest other, as the question is.", NATS
            ),
            Column("varied_gap", "DOUBLE", "The same of the varied question; null if it is left out.", NATS),
            Column("is_right", "BOOLEAN", "Whether the true option is answered: gap is positive."),
            Column("varied_is_right", "BOOLEAN", "Whether it still is; null if the question is left out."),
        ),
        asset="variation_summary",
    ),
    Table(
        "answer_variation_summary",
        "Accuracy of a target model on varied questions, of memorized and of other training samples. Samples whose given label "
        "is not the true one are left out: there, recalling and knowing the answer differ.",
        ("study", "target_seed", "among", "measure"),
        (
            STUDY,
            TARGET,
            Column("among", "VARCHAR", "Which samples: memorized, other or all."),
            Column(
                "measure",
                "VARCHAR",
                "accuracy, varied_accuracy, or lost: of those answered right, how many no longer are when varied.",
            ),
            Column("rate", "DOUBLE", "The rate; null with fewer than 10 cases.", SHARE),
            Column("low", "DOUBLE", "Lower end of its 95 % interval (Clopper-Pearson).", SHARE),
            Column("high", "DOUBLE", "Upper end of the interval.", SHARE),
            Column("successes", "INTEGER", "Cases that count.", "samples"),
            Column("trials", "INTEGER", "All cases.", "samples"),
        ),
        asset="variation_summary",
    ),
    Table(
        "population_memorization",
        "Average vulnerability of a sample over all models of a study, at every checkpoint.",
        ("study", "epoch", "sample_id"),
        (
            STUDY,
            EPOCH,
            SAMPLE,
            Column(
                "counterfactual",
                "DOUBLE",
                "Mean logit gap of the models trained with the sample minus that of the models trained without it.",
                NATS,
            ),
            Column("simplicity", "DOUBLE", "Sum of the same two means; large = easy.", NATS),
            Column(
                "attack_success_rate",
                "DOUBLE",
                "Share of the models of which LiRA guesses right whether they were trained on the sample.",
                SHARE,
            ),
            Column("mean_gap", "DOUBLE", "Mean logit gap over all models.", NATS),
            Column("sd_gap", "DOUBLE", "Standard deviation of the logit gap over all models.", NATS),
            Column("mean_loss", "DOUBLE", "Mean loss over all models.", NATS),
        ),
        asset="population_memorization",
    ),
    Table(
        "predictor_scores",
        "Early scores of every training sample of a target model.",
        ("study", "target_seed", "epoch", "predictor", "layer", "sample_id"),
        (
            STUDY,
            TARGET,
            EPOCH,
            PREDICTOR,
            LAYER,
            SAMPLE,
            Column(
                "score",
                "DOUBLE",
                "The score; the README's table says whether low or high scores are at risk.",
            ),
        ),
        asset="predictor_scores",
        indexed=False,
    ),
    Table(
        "layer_summary",
        "Figures of a whole layer of a target model: sliced mutual information, directions of PSMI.",
        ("study", "target_seed", "epoch", "layer", "measure"),
        (
            STUDY,
            TARGET,
            EPOCH,
            LAYER,
            Column(
                "measure",
                "VARCHAR",
                "smi (mean over directions), smi_low, smi_high (1 % and 99 %): sliced mutual information of hidden state and "
                "given label; psmi_directions: number of directions that PSMI used.",
            ),
            Column("value", "DOUBLE", "Its value.", "nats, or number of directions"),
        ),
        asset="predictor_scores",
    ),
    Table(
        "weight_norms",
        "Norms of a target model's trained weights at a checkpoint, and their distances from step 0.",
        ("study", "target_seed", "epoch", "module", "matrix", "norm"),
        (
            STUDY,
            TARGET,
            EPOCH,
            Column("module", "VARCHAR", "Name of the module; all: the block-diagonal matrix of all of them."),
            Column("matrix", "VARCHAR", "LoRA factors A and B, BA for their scaled product; W without LoRA."),
            Column("norm", "VARCHAR", "frobenius, nuclear, spectral or infinity."),
            Column("value", "DOUBLE", "The norm."),
            Column("distance", "DOUBLE", "The norm of the difference from step 0."),
        ),
        asset="predictor_scores",
    ),
    Table(
        "predictor_evaluation",
        "Each predictor at each checkpoint, judged by the memorization labels of the last checkpoint.",
        ("study", "target_seed", "epoch", "predictor", "layer"),
        (
            STUDY,
            TARGET,
            EPOCH,
            PREDICTOR,
            LAYER,
            Column("auc", "DOUBLE", "Area under the ROC curve, 0 to 1; .5 = chance."),
            Column("fpr_at_tpr", "DOUBLE", "False positive rate at the first point with TPR > .75.", SHARE),
            Column("threshold_at_tpr", "DOUBLE", "The score at that point.", "that of the score"),
            Column("tpr_at_fpr_001", "DOUBLE", "True positive rate at a false positive rate of .001.", SHARE),
            Column("tpr_at_fpr_01", "DOUBLE", "True positive rate at a false positive rate of .01.", SHARE),
            Column(
                "precision_at_k", "DOUBLE", "Share memorized among the n_memorized riskiest samples.", SHARE
            ),
            Column(
                "rule_fpr",
                "DOUBLE",
                "False positive rate of the rule PSMI < 0; null for other predictors.",
                SHARE,
            ),
            Column(
                "rule_tpr",
                "DOUBLE",
                "True positive rate of the rule PSMI < 0; null for other predictors.",
                SHARE,
            ),
            Column("n", "INTEGER", "Training samples of the target.", "samples"),
            Column("n_memorized", "INTEGER", "Memorized ones among them.", "samples"),
            Column(
                "is_prediction_epoch",
                "BOOLEAN",
                "Whether this is the prediction epoch: the first checkpoint where the median training loss has fallen enough "
                "(scores.loss_drop), or the one at the model's trigger.",
            ),
            Column("is_last_layer", "BOOLEAN", "Whether this is the last layer; true without layers."),
        ),
        asset="predictor_evaluation",
    ),
)
