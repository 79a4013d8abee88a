"""Checks of the memorization labels in the warehouse.

What belongs here: whether there are models enough for a label, and whether scores tell samples apart. What does not:
how many models make labels stable (`analysis.stability`).
"""

import duckdb

from memo_assets.checks.verdict import Verdict, not_judged, numbered
from memo_assets.config import Study

ENOUGH = 5
"""Fewest models for a standard deviation of a sample's own: from 5 normal values it has a standard error of 35 %."""

# Least models trained with a sample, and without it. Where the standard deviation is common to all samples, one will do.
_NEEDS = {
    "online_lira": (ENOUGH, ENOUGH),
    "online_lira_fixed_variance": (1, 1),
    "offline_lira": (0, ENOUGH),
    "offline_lira_fixed_variance": (0, 1),
    "rmia": (1, 1),
    "offline_rmia": (0, 1),
    "loo_lira": (ENOUGH, ENOUGH),
}
MOST = 0.5
"""Largest share of scores that are clipped, or ties: beyond it the median score itself tells nothing."""

_LAST = """
FROM (FROM memorization WHERE study = $study QUALIFY epoch = max(epoch) OVER (PARTITION BY target_seed))
"""


def enough_shadows(connection: duckdb.DuckDBPyConnection, study: Study) -> Verdict:
    """Whether every training sample of the audited models has models enough, trained with it and without it, for a label.

    Attacks with a standard deviation per sample take ENOUGH models a side, others one; offline attacks read only models
    without the sample.

    Args:
        connection: on the warehouse, with the study's labels.
        study: its attack.
    """
    n_in, n_out = _NEEDS[study.labels.attack]
    query = f"""
    SELECT count(*) AS n, min(n_in) AS n_in, min(n_out) AS n_out,
           count(*) FILTER (score IS NULL OR isnan(score)) AS without_score,
           list(DISTINCT sample_id ORDER BY sample_id) FILTER (n_in < $n_in OR n_out < $n_out) AS short
    {_LAST}
    """
    n, fewest_in, fewest_out, without, short = _row(
        connection, query, {"study": study.name, "n_in": n_in, "n_out": n_out}
    )
    if not n:
        return not_judged("the warehouse has no labels of this study")
    facts = {
        "labels": n,
        "fewest_in_models": fewest_in,
        "fewest_out_models": fewest_out,
        "samples_with_too_few_models": len(short or []),
        "labels_without_score": without,
    }
    seen = f"the fewest models that any of {n} labels rests on are {fewest_in} with the sample and {fewest_out} without it"
    if short:
        return Verdict(
            passed=False,
            sentence=f"{seen}; {study.labels.attack} should have {n_in} and {n_out}. Samples below that: {numbered(short)}. "
            "Raise shadows.models, or choose a labels.attack with fixed variance",
            facts=facts,
        )
    return Verdict(passed=True, sentence=seen, facts=facts)


def labels_not_degenerate(connection: duckdb.DuckDBPyConnection, study: Study) -> Verdict:
    """Whether most scores of the audited models' training samples at the last checkpoint tell samples apart.

    A log-LiRA beyond +-100 is stored clipped beside its value: so far out it is the tail of a normal density that no
    shadow model has seen. A tie is a score that another training sample of the same target has. Missing scores count as
    ties.

    Args:
        connection: on the warehouse, with the study's labels.
        study: its name.
    """
    query = f"""
    SELECT count(*) AS n, avg((abs(log_lira) > abs(log_lira_clipped))::INTEGER) AS clipped, avg(tied::INTEGER) AS tied,
           avg(memorized::INTEGER) AS memorized
    FROM (SELECT *, score IS NULL OR isnan(score) OR count(*) OVER (PARTITION BY target_seed, score) > 1 AS tied {_LAST})
    """
    n, clipped, tied, memorized = _row(connection, query, {"study": study.name})
    if not n:
        return not_judged("the warehouse has no labels of this study")
    facts = {"labels": n, "share_clipped": clipped or 0.0, "share_tied": tied, "share_memorized": memorized}
    seen = f"of {n} scores {facts['share_clipped']:.1%} are beyond +-100 and {tied:.1%} are ties; {memorized:.1%} are called memorized"
    if max(facts["share_clipped"], tied) > MOST:
        return Verdict(
            passed=False,
            sentence=f"{seen}. With more than {MOST:.0%} of either, labels hang on chance: raise shadows.models, look at "
            "label_stability, or choose another labels.attack",
            facts=facts,
        )
    return Verdict(passed=True, sentence=seen, facts=facts)


def _row(connection: duckdb.DuckDBPyConnection, query: str, values: dict) -> tuple:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row
