"""Tables loaded as they are from the files of samples, split masks and workers; and which load each row set is of."""

from memo_assets.store.description import EPOCH, LOSS, NATS, SAMPLE, SEED, STUDY, Column, Table

LOADED_TABLES = (
    Table(
        "samples",
        "One row per sample of a study.",
        ("study", "sample_id"),
        (
            STUDY,
            SAMPLE,
            Column("item_id", "VARCHAR", "The sample's id in its source."),
            Column("item_group", "VARCHAR", "Its group there, such as a subject; null without groups."),
            Column(
                "part", "VARCHAR", "pool (models train on random shares of it) or test (never trained on)."
            ),
            Column("label_status", "VARCHAR", "true, or random if label noise redrew the label."),
            Column("canary", "VARCHAR", "clean or ood if the sample is a canary of that kind; else null."),
            Column("text", "VARCHAR", "The text to classify; null for images."),
            Column("prompt", "VARCHAR", "What the model reads before the answer; null for images."),
            Column("options", "VARCHAR[]", "All answers of the sample, in order."),
            Column("true_label", "VARCHAR", "Label in the source."),
            Column("given_label", "VARCHAR", "Label the models are trained on."),
            Column("true_index", "SMALLINT", "Position of true_label in options, from 0."),
            Column("given_index", "SMALLINT", "Position of given_label in options, from 0."),
            Column("content_hash", "VARCHAR", "SHA-256 of what the model sees and of the given label."),
        ),
        asset="samples",
    ),
    Table(
        "split_masks",
        "Which samples each model was trained on; a sample of the pool without a row was held out.",
        ("study", "split_seed", "sample_id"),
        (STUDY, SEED, SAMPLE, Column("position", "INTEGER", "Position in the order of the draw, from 0.")),
        asset="shadow_logits",
        indexed=False,
    ),
    Table(
        "checkpoints",
        "One row per model and checkpoint: facts of the training run.",
        ("study", "split_seed", "epoch"),
        (
            STUDY,
            SEED,
            EPOCH,
            Column("step", "INTEGER", "How far the training was.", "optimizer steps"),
            Column(
                "train_loss_mean",
                "DOUBLE",
                "Mean loss of batches since the recipe's last checkpoint; null at 0.",
                NATS,
            ),
            Column(
                "train_loss_median",
                "DOUBLE",
                "Median loss of samples since the recipe's last checkpoint; null at 0.",
                NATS,
            ),
            Column("learning_rate", "DOUBLE", "Learning rate of the last step."),
            Column(
                "is_trigger",
                "BOOLEAN",
                "Whether the model met its trigger (training.trigger) at this step; it may then be a checkpoint of this model "
                "alone, which has no labels.",
            ),
        ),
        asset="shadow_logits",
    ),
    Table(
        "logits",
        "One row per model, checkpoint and sample: the forward pass.",
        ("study", "split_seed", "epoch", "sample_id"),
        (
            STUDY,
            SEED,
            EPOCH,
            SAMPLE,
            Column("loss", "FLOAT", LOSS, NATS),
            Column(
                "logit_gap",
                "FLOAT",
                "Logit of the given label minus the largest logit of the other options; above 0 where the model answers as "
                "the given label says.",
                NATS,
            ),
            Column("option_logits", "FLOAT[]", "Logits of the sample's options, in their order.", NATS),
            Column(
                "query_gaps",
                "FLOAT[]",
                "Logit gaps on the image and on its shifted or mirrored copies (labels.queries); null without such queries.",
                NATS,
            ),
        ),
        asset="shadow_logits",
        indexed=False,
    ),
    Table(
        "logit_moments",
        "Logit gaps of a block of models on a sample at a checkpoint, as two Gaussians: of the models trained with the sample "
        "and of those trained without it. What log_lira_of reads in place of the rows themselves.",
        ("study", "first_seed", "epoch", "sample_id"),
        (
            STUDY,
            Column("first_seed", "INTEGER", "Lowest split seed of the block."),
            Column("last_seed", "INTEGER", "Highest split seed of the block; all between belong to it."),
            EPOCH,
            SAMPLE,
            Column("n_in", "INTEGER", "Models of the block that were trained with the sample.", "models"),
            Column("mean_in", "DOUBLE", "Mean of their logit gaps; 0 if there are none.", NATS),
            Column(
                "sd_in",
                "DOUBLE",
                "Population standard deviation of their logit gaps; 0 if there are none.",
                NATS,
            ),
            Column("n_out", "INTEGER", "Models of the block that were not.", "models"),
            Column("mean_out", "DOUBLE", "Mean of their logit gaps; 0 if there are none.", NATS),
            Column(
                "sd_out",
                "DOUBLE",
                "Population standard deviation of their logit gaps; 0 if there are none.",
                NATS,
            ),
        ),
        asset="shadow_logits",
        indexed=False,
    ),
    Table(
        "provenance",
        "Where the rows of the other tables come from: one row per table of a study, or per block of split seeds of it, "
        "written with the rows themselves.",
        ("study", "table_name", "block"),
        (
            STUDY,
            Column("table_name", "VARCHAR", "Name of the table."),
            Column(
                "block",
                "VARCHAR",
                "Split seeds that were loaded together, such as 000-024: the partition of the asset; null for a table that is "
                "loaded as a whole.",
            ),
            Column("split_seeds", "INTEGER[]", "All split seeds of the block; null without one."),
            Column("asset", "VARCHAR", "Name of the asset that wrote the rows."),
            Column("run_id", "VARCHAR", "Dagster's id of the run that wrote them.", of_run=True),
            Column("code_version", "VARCHAR", "Hash of all settings and algorithms that the rows depend on."),
            Column(
                "data_version",
                "VARCHAR",
                "Hash of the content of the files that the rows are in too.",
            ),
            Column(
                "input_versions",
                "MAP(VARCHAR, VARCHAR)",
                "Data version of each asset that the asset was computed from, by its name.",
            ),
            Column("row_count", "BIGINT", "How much was loaded.", "rows"),
            Column("loaded_at", "TIMESTAMP", "When it was loaded.", "UTC", of_run=True),
        ),
        indexed=False,
    ),
)
