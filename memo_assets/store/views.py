"""The warehouse's views: SQL over its tables, and a sentence on each."""

VIEWS = {
    "predictions": (
        """
        SELECT study, split_seed, epoch, sample_id,
               list_position(option_logits, list_max(option_logits)) - 1 AS predicted_index,
               list_position(option_logits, list_max(option_logits)) - 1 = given_index AS fits_given,
               list_position(option_logits, list_max(option_logits)) - 1 = true_index AS is_correct
        FROM logits JOIN samples USING (study, sample_id)
        """,
        "The answer of every model at every checkpoint, from the option logits.",
    ),
    "option_probabilities": (
        """
        SELECT study, split_seed, epoch, sample_id, option,
               exp(logit - list_max(option_logits))
                 / list_sum([exp(other - list_max(option_logits)) for other in option_logits]) AS probability
        FROM (SELECT *, unnest(option_logits) AS logit, generate_subscripts(option_logits, 1) - 1 AS option
              FROM logits)
        """,
        "Softmax over the sample's options: one row per option.",
    ),
    "training_measures": (
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
        "How far a model is at a checkpoint, by part: test, held out, train, and of these true and random labels and canaries "
        "out of distribution. Loss over "
        "the full vocabulary in nats; accuracy and Brier score (0 to 2) over the options; all on the given labels.",
    ),
    "population_psmi": (
        """
        SELECT s.study, s.epoch, s.sample_id, avg(s.score) AS psmi, count(*) AS n_models
        FROM predictor_scores s
        JOIN predictor_evaluation e USING (study, target_seed, epoch, predictor, layer)
        WHERE s.predictor = 'psmi' AND e.is_last_layer AND isfinite(s.score)
        GROUP BY ALL
        """,
        "PSMI of the last layer, averaged over the audited models that were trained on the sample; audit several split "
        "seeds (shadows.audited) for a measure of the population.",
    ),
}
