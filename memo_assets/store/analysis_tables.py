"""Tables of further analyses of the labels: how skewed they are, and whether answers survive a varied question."""

from memo_assets.store.description import NATS, SAMPLE, SHARE, STUDY, TARGET, Column, Table

ANALYSIS_TABLES = (
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
)
