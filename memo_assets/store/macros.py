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
        ), sides AS (
          SELECT l.epoch, l.sample_id, count(m.sample_id) AS n_in, count(*) - count(m.sample_id) AS n_out,
                 avg(l.logit_gap::DOUBLE) FILTER (m.sample_id IS NOT NULL) AS mean_in,
                 stddev_pop(l.logit_gap::DOUBLE) FILTER (m.sample_id IS NOT NULL) AS sd_in,
                 avg(l.logit_gap::DOUBLE) FILTER (m.sample_id IS NULL) AS mean_out,
                 stddev_pop(l.logit_gap::DOUBLE) FILTER (m.sample_id IS NULL) AS sd_out
          FROM logits l
          SEMI JOIN (SELECT sample_id FROM split_masks WHERE study = of_study AND split_seed = target) t
            ON t.sample_id = l.sample_id
          LEFT JOIN split_masks m
            ON m.study = of_study AND m.split_seed = l.split_seed AND m.sample_id = l.sample_id
          WHERE l.study = of_study AND l.split_seed != target
          GROUP BY l.epoch, l.sample_id
        ), moments AS (
          SELECT epoch, sample_id, gap, n_in, n_out,
                 coalesce(mean_in, 0) AS mean_in, nullif(coalesce(sd_in, .1), 0) AS sd_in,
                 coalesce(mean_out, 0) AS mean_out, nullif(coalesce(sd_out, .1), 0) AS sd_out
          FROM own JOIN sides USING (epoch, sample_id)
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
