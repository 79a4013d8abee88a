"""Tables of the group `comparison`: what is computed over several studies."""

from memo_assets.store.description import SHARE, Column, Table

COMPARISON_TABLES = (
    Table(
        "mitigation_comparison",
        "Each protection of a study beside the study itself, on the samples protected and on those left. Made by the asset "
        "comparison/mitigation_comparison.",
        ("study", "mitigation", "sample_group"),
        (
            Column("study", "VARCHAR", "Name of the unprotected study."),
            Column(
                "mitigation",
                "VARCHAR",
                "Name of the protection; none: the study itself; early_stopping: the same at its prediction epoch.",
            ),
            Column(
                "sample_group",
                "VARCHAR",
                "protected: pool samples that the study's audit flags; left: the others; all: both.",
            ),
            Column("variant", "VARCHAR", "Name of the study whose models these are."),
            Column("epoch", "DOUBLE", "Checkpoint that is judged.", "epochs"),
            Column("n_models", "INTEGER", "Models of the study.", "models"),
            Column("n", "INTEGER", "Pool samples of the group.", "samples"),
            Column(
                "n_judged",
                "INTEGER",
                "Training samples of the audited models in the group, each once for every audited model.",
                "samples",
            ),
            Column("test_accuracy", "DOUBLE", "Mean over all models; the same in all groups.", SHARE),
            Column("test_accuracy_sd", "DOUBLE", "Its standard deviation between models.", SHARE),
            Column(
                "train_accuracy",
                "DOUBLE",
                "On the given labels of each model's split mask in the group, whether trained on or not; mean over models.",
                SHARE,
            ),
            Column(
                "share_memorized",
                "DOUBLE",
                "Of the n_judged, those whose score of the study's attack reaches the lowest score that the unprotected study "
                "calls memorized at its last checkpoint.",
                SHARE,
            ),
            Column(
                "share_memorized_before",
                "DOUBLE",
                "Of the same samples, in the unprotected study at its last checkpoint.",
                SHARE,
            ),
            Column(
                "newly_memorized",
                "INTEGER",
                "Of the n_judged, those memorized now and not in the unprotected study (of the samples left: the onion effect).",
                "samples",
            ),
            Column("no_longer_memorized", "INTEGER", "Of the n_judged, the other way round.", "samples"),
            Column(
                "attack_auc",
                "DOUBLE",
                "Area under the ROC curve of leave-one-out LiRA that tells models whose split mask has a sample from the others, "
                "over all models and samples of the group; .5 = chance.",
            ),
            Column(
                "attack_tpr_at_fpr_01",
                "DOUBLE",
                "Its true positive rate at a false positive rate of .01.",
                SHARE,
            ),
            Column(
                "epsilon",
                "DOUBLE",
                "Of DP-SGD, accounted as if batches were drawn by Poisson sampling, which they are not; null without.",
            ),
            Column("delta", "DOUBLE", "The probability that goes with it.", SHARE),
        ),
    ),
)
