"""The warehouse's table macros: queries with parameters, stored in the database for every client.

What belongs here: SQL that needs to be told what to look at before it reads anything. What does not: views, which are
filtered afterwards.
"""

from dataclasses import dataclass

from memo_assets.store.description import EPOCH, NATS, SAMPLE, Column


@dataclass(frozen=True)
class Macro:
    """One table macro: its parameters, its SQL, what it gives."""

    parameters: tuple[str, ...]
    query: str
    comment: str
    columns: tuple[Column, ...]


MACROS = {
    "log_lira_of": Macro(
        ("of_study", "target"),
        """
        WITH own AS (
          SELECT epoch, sample_id, logit_gap::DOUBLE AS gap
          FROM logits SEMI JOIN split_masks USING (study, split_seed, sample_id)
          WHERE study = of_study AND split_seed = target
        ), size AS (
          SELECT greatest((SELECT max(split_seed) FROM logits WHERE study = of_study),
                          (SELECT max(split_seed) FROM split_masks WHERE study = of_study)) + 1 AS models
        ), members AS (  -- one bit a model: no join of all rows with the split masks
          SELECT sample_id, bit_or(set_bit(repeat('0', models)::BIT, split_seed, 1)) AS bits
          FROM split_masks, size WHERE study = of_study
          GROUP BY sample_id HAVING bool_or(split_seed = target)
        ), sides AS (
          SELECT epoch, sample_id, is_in, count(*) AS n, avg(gap) AS mean, nullif(stddev_pop(gap), 0) AS sd
          FROM (
            SELECT l.epoch, l.sample_id, l.logit_gap::DOUBLE AS gap, get_bit(m.bits, l.split_seed) AS is_in
            FROM logits l JOIN members m ON m.sample_id = l.sample_id
            WHERE l.study = of_study AND l.split_seed != target
          )
          GROUP BY epoch, sample_id, is_in
        ), pairs AS (  -- both sides in one row: cheaper than a join of the sides
          SELECT epoch, sample_id,
                 max(n) FILTER (is_in = 1) AS n_in, max(mean) FILTER (is_in = 1) AS mean_in, max(sd) FILTER (is_in = 1) AS sd_in,
                 max(n) FILTER (is_in = 0) AS n_out, max(mean) FILTER (is_in = 0) AS mean_out, max(sd) FILTER (is_in = 0) AS sd_out
          FROM sides GROUP BY epoch, sample_id
        ), moments AS (
          SELECT epoch, sample_id, gap, coalesce(n_in, 0) AS n_in, coalesce(n_out, 0) AS n_out,
                 coalesce(mean_in, 0) AS mean_in, if(pairs.n_in IS NULL, .1, sd_in) AS sd_in,
                 coalesce(mean_out, 0) AS mean_out, if(pairs.n_out IS NULL, .1, sd_out) AS sd_out
          FROM own LEFT JOIN pairs USING (epoch, sample_id)
        )
        SELECT epoch, sample_id, n_in, n_out,
               ln(sd_out) - ln(sd_in) - ((gap - mean_in) / sd_in) ** 2 / 2 + ((gap - mean_out) / sd_out) ** 2 / 2
                 AS log_lira
        FROM moments
        """,
        "Log-LiRA of any model of a study, audited or not, at all its checkpoints: log-likelihood of its logit gap on its own "
        "training samples under the other models trained with the sample, minus that under those trained without it.",
        (
            EPOCH,
            SAMPLE,
            Column("n_in", "BIGINT", "Other models that were trained with the sample.", "models"),
            Column("n_out", "BIGINT", "Other models that were not.", "models"),
            Column(
                "log_lira",
                "DOUBLE",
                "As `log_lira` of the table memorization, up to rounding; large = memorized. Null where the other models leave "
                "a group without spread.",
                NATS,
            ),
        ),
    )
}
