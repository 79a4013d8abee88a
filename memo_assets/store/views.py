"""The warehouse's views: SQL over its tables, and what it gives."""

from memo_assets.store.description import EPOCH, NATS, SAMPLE, SEED, SHARE, STUDY, Column, View

VIEWS = {
    "predictions": View(
        """
        SELECT study, split_seed, epoch, sample_id,
               list_position(option_logits, list_max(option_logits)) - 1 AS predicted_index,
               list_position(option_logits, list_max(option_logits)) - 1 = given_index AS fits_given,
               list_position(option_logits, list_max(option_logits)) - 1 = true_index AS is_correct
        FROM logits JOIN samples USING (study, sample_id)
        """,
        "The answer of every model at every checkpoint, from the option logits.",
        ("study", "split_seed", "epoch", "sample_id"),
        (
            STUDY,
            SEED,
            EPOCH,
            SAMPLE,
            Column(
                "predicted_index", "INTEGER", "Position in options of the answer: the largest logit, from 0."
            ),
            Column("fits_given", "BOOLEAN", "Whether the answer is the given label."),
            Column("is_correct", "BOOLEAN", "Whether the answer is the true label."),
        ),
    ),
    "option_probabilities": View(
        """
        SELECT study, split_seed, epoch, sample_id, option,
               exp(logit - list_max(option_logits))
                 / list_sum([exp(other - list_max(option_logits)) for other in option_logits]) AS probability
        FROM (SELECT *, unnest(option_logits) AS logit, generate_subscripts(option_logits, 1) - 1 AS option
              FROM logits)
        """,
        "Softmax over the sample's options: one row per option.",
        ("study", "split_seed", "epoch", "sample_id", "option"),
        (
            STUDY,
            SEED,
            EPOCH,
            SAMPLE,
            Column("option", "BIGINT", "Position of the option in options, from 0."),
            Column("probability", "DOUBLE", "Probability of the option among the sample's options.", SHARE),
        ),
    ),
    "training_measures": View(
        """
        WITH answers AS (
          SELECT l.*, s.given_index, m.sample_id IS NOT NULL AS trained,
                 [exp(logit - list_max(l.option_logits)) for logit in l.option_logits] AS weights,
                 CASE WHEN s.part = 'test' THEN ['test']
                      WHEN m.sample_id IS NULL THEN ['held out']
                      WHEN s.label_status = 'random' THEN ['train', 'train, random label']
                      WHEN s.canary = 'ood' THEN ['train', 'train, ood canary']
                      ELSE ['train', 'train, true label'] END AS parts
          FROM logits l
          JOIN samples s USING (study, sample_id)
          LEFT JOIN split_masks m
            ON m.study = l.study AND m.split_seed = l.split_seed AND m.sample_id = l.sample_id
        ), scored AS (
          SELECT study, split_seed, epoch, unnest(parts) AS part, loss, logit_gap,
                 1 + list_sum([(w / list_sum(weights)) ** 2 for w in weights])
                   - 2 * weights[given_index + 1] / list_sum(weights) AS brier
          FROM answers
        ), measured AS (
          SELECT study, split_seed, epoch, part, count(*) AS n, avg(loss) AS mean_loss, median(loss) AS median_loss,
                 avg((logit_gap > 0)::INTEGER) AS accuracy, avg(brier) AS brier_score
          FROM scored GROUP BY ALL
        )
        SELECT study, split_seed, epoch, step,
               round(epoch * max(n) FILTER (part = 'train') OVER (PARTITION BY study, split_seed, epoch))::BIGINT
                 AS samples_seen,
               part, n, mean_loss, median_loss, accuracy, brier_score
        FROM measured LEFT JOIN checkpoints USING (study, split_seed, epoch)
        """,
        "How far a model is at a checkpoint, by part of the samples, judged by the given labels.",
        ("study", "split_seed", "epoch", "part"),
        (
            STUDY,
            SEED,
            EPOCH,
            Column("step", "INTEGER", "How far the training was.", "optimizer steps"),
            Column(
                "samples_seen", "BIGINT", "Training samples seen so far, each as often as it was.", "samples"
            ),
            Column(
                "part",
                "VARCHAR",
                "test; held out (pool samples that the model was not trained on); train; and parts of train: train, true label; "
                "train, random label; train, ood canary.",
            ),
            Column("n", "BIGINT", "Samples of the part.", "samples"),
            Column("mean_loss", "DOUBLE", "Mean of the table logits' loss.", NATS),
            Column("median_loss", "FLOAT", "Median of the same.", NATS),
            Column("accuracy", "DOUBLE", "Share of samples whose given label has the largest logit.", SHARE),
            Column("brier_score", "DOUBLE", "Mean Brier score over the options, 0 (best) to 2."),
        ),
    ),
    "population_psmi": View(
        """
        WITH last_layers AS (
          SELECT study, target_seed, epoch, predictor, layer,
                 count(*) OVER (PARTITION BY study, epoch) AS n_here,
                 count(DISTINCT target_seed) OVER (PARTITION BY study) AS n_audited
          FROM predictor_evaluation WHERE predictor = 'psmi' AND is_last_layer
        )
        SELECT s.study, s.epoch, s.sample_id, avg(s.score) AS psmi, count(*) AS n_models
        FROM predictor_scores s JOIN last_layers USING (study, target_seed, epoch, predictor, layer)
        WHERE n_here = n_audited AND isfinite(s.score)
        GROUP BY ALL
        """,
        "PSMI of the last layer, averaged over the audited models that were trained on the sample, at the checkpoints that "
        "all of them have; audit several split seeds (shadows.audited) for a measure of the population.",
        ("study", "epoch", "sample_id"),
        (
            STUDY,
            EPOCH,
            SAMPLE,
            Column("psmi", "DOUBLE", "Mean PSMI of the sample; low = at risk.", NATS),
            Column("n_models", "BIGINT", "Audited models that were trained on the sample.", "models"),
        ),
    ),
}
