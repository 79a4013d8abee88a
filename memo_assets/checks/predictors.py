"""Checks of the predictors: what PSMI is computed from, and whether predictors predict.

What belongs here: sizes of classes, AUCs. What does not: the scores themselves (`measures`).
"""

from collections.abc import Sequence

import duckdb
import numpy as np

from memo_assets.checks.verdict import Verdict, not_judged, seeds_named, span
from memo_assets.store.layout import Layout

SMALL = 10
"""Fewest samples of a class: from 10 normal values a standard deviation has a standard error of 24 %."""

_CLASSES = r"""
SELECT regexp_extract(m.filename, 'seed=(\d+)\.parquet$', 1)::INTEGER AS seed, given_label, count(*) AS n
FROM read_parquet($masks, hive_partitioning = false, filename = true) m
JOIN read_parquet($samples, hive_partitioning = false) s USING (sample_id)
GROUP BY ALL ORDER BY n, given_label, seed
"""
JUDGED = ("psmi", "loss", "logit_gap")
_AUCS = """
SELECT target_seed, predictor, auc, n, n_memorized
FROM (FROM predictor_evaluation WHERE study = $study AND is_last_layer AND predictor IN (SELECT unnest($judged))
      WINDOW targets AS (PARTITION BY target_seed)
      QUALIFY CASE WHEN bool_or(is_prediction_epoch) OVER targets THEN is_prediction_epoch
                   ELSE epoch = max(epoch) OVER targets END)
ORDER BY target_seed, predictor
"""


def psmi_classes_large_enough(layout: Layout, seeds: Sequence[int]) -> Verdict:
    """Whether each label is given to SMALL training samples or more of every audited model.

    PSMI models the samples of a class by a normal density on every direction, so a small class gives rough scores, and a
    sample that alone bears its label gets none.

    Args:
        layout: where samples and split masks lie.
        seeds: split seeds of the audited models to judge.
    """
    if not seeds:
        return not_judged("no layer scores have been recorded")
    values = {"masks": [str(layout.split_mask(seed)) for seed in seeds], "samples": str(layout.samples)}
    with duckdb.connect() as connection:
        rows = connection.execute(_CLASSES, values).fetchall()
    if len({label for _, label, _ in rows}) < 2:
        return not_judged("all training samples have the same label, of which PSMI can say nothing")
    small = [(seed, label, n) for seed, label, n in rows if n < SMALL]
    sizes = [n for *_, n in rows]
    facts = {"smallest_class": min(sizes), "largest_class": max(sizes), "small_classes": len(small)}
    if small:
        named = ", ".join(f"{label!r} has {n}" for _, label, n in small[:3])
        more = f" and {len(small) - 3} more" if len(small) > 3 else ""
        return Verdict(
            passed=False,
            sentence=f"labels of fewer than {SMALL} training samples, which make rough PSMI (none for a single one): "
            f"{named}{more}, of {seeds_named(sorted({seed for seed, *_ in small}))}. Give more data, merge labels, or "
            "raise shadows.train_share",
            facts=facts,
            seeds=tuple(sorted({seed for seed, *_ in small})),
        )
    return Verdict(
        passed=True, sentence=f"each label is given to {span(sizes)} training samples of a model", facts=facts
    )


def auc_above_half(connection: duckdb.DuckDBPyConnection, study: str) -> Verdict:
    """Whether PSMI of the last layer, loss and logit gap rank memorized samples above others where they are judged.

    Judged is the prediction epoch of each audited model, or the last checkpoint if there is none. Among the facts is by
    how many standard errors of chance the worst AUC is above .5: of n1 memorized samples and n0 others chance gives a
    standard error of sqrt((n1 + n0 + 1) / (12 n1 n0)), that of the Mann-Whitney statistic without ties.

    Args:
        connection: on the warehouse, with the study's evaluation.
        study: name of the study.
    """
    rows = connection.execute(_AUCS, {"study": study, "judged": list(JUDGED)}).fetchall()
    if not rows:
        return not_judged("the warehouse has no evaluation of this study")
    aucs = np.array([row[2] for row in rows], dtype=np.float64)  # null becomes nan
    n, n_memorized = (np.array([row[place] for row in rows], dtype=np.float64) for place in (3, 4))
    # Nothing to rank, no AUC: then it is nan.
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (aucs - 0.5) / np.sqrt((n + 1) / (12 * n_memorized * (n - n_memorized)))
    bad = [
        f"{predictor} {auc:.3f} for target {target}"
        for (target, predictor, *_), auc in zip(rows, aucs, strict=True)
        if not auc > 0.5
    ]
    facts = {"aucs": len(rows), "aucs_not_above_half": len(bad)}
    if np.isfinite(aucs).all():
        facts |= {"least_auc": float(aucs.min()), "standard_errors_above_half": float(above.min())}
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        return Verdict(
            passed=False,
            sentence=f"predictors no better than chance, whose AUC is .5: {shown}. Look at the warnings of adapters, logits "
            "and memorization first: without learning, or with labels by chance, nothing can be predicted",
            facts=facts,
            seeds=tuple(sorted({row[0] for row, auc in zip(rows, aucs, strict=True) if not auc > 0.5})),
        )
    return Verdict(
        passed=True, sentence=f"AUC of {', '.join(JUDGED)}: {span(aucs)}, where chance gives .5", facts=facts
    )
