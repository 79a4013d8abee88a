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
        ), sums AS (  -- distances of all models from the target's gap: the target, one of those in, adds 0
          SELECT epoch, sample_id, gap,
                 sum(n_in)::BIGINT - 1 AS n_in, sum(n_in * (mean_in - gap)) AS distances_in,
                 sum(n_in * (sd_in ** 2 + (mean_in - gap) ** 2)) AS squares_in,
                 sum(n_out)::BIGINT AS n_out, sum(n_out * (mean_out - gap)) AS distances_out,
                 sum(n_out * (sd_out ** 2 + (mean_out - gap) ** 2)) AS squares_out
          FROM own JOIN logit_moments USING (epoch, sample_id) WHERE study = of_study
          GROUP BY epoch, sample_id, gap HAVING bool_or(target BETWEEN first_seed AND last_seed)
        ), distances AS (  -- an empty group has mean 0
          SELECT epoch, sample_id, n_in, n_out,
                 if(n_in = 0, -gap, distances_in / n_in) AS mean_in, if(n_out = 0, -gap, distances_out / n_out) AS mean_out,
                 squares_in / nullif(n_in, 0) AS square_in, squares_out / nullif(n_out, 0) AS square_out
          FROM sums
        ), variances AS (  -- null where all gaps of a group are equal, up to rounding
          SELECT *, CASE WHEN n_in = 0 THEN .01
                         WHEN square_in - mean_in ** 2 > 1e-13 * square_in THEN square_in - mean_in ** 2 END AS var_in,
                 CASE WHEN n_out = 0 THEN .01
                      WHEN square_out - mean_out ** 2 > 1e-13 * square_out THEN square_out - mean_out ** 2 END AS var_out
          FROM distances
        )
        SELECT epoch, sample_id, n_in, n_out,
               (ln(var_out) - ln(var_in) - mean_in ** 2 / var_in + mean_out ** 2 / var_out) / 2 AS log_lira
        FROM variances
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
