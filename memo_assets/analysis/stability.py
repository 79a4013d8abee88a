"""How far a study's labels depend on the shadow models there are and on the attack."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd

from memo_assets.analysis.frames import Subject, attack_scores
from memo_assets.analysis.labels import attack_outputs, label_rule
from memo_assets.config import Study
from memo_assets.measures.attacks import ATTACKS
from memo_assets.measures.stability import DISJOINT, ENOUGH, Verdict, verdict
from memo_assets.measures.stability import label_stability as resample

WORTH_IT = 0.01
"""Gain of agreement by twice the shadow models below which more of them settle nothing."""

_COLUMNS = ["target_seed", "comparison", "n_shadows", "draw", "agreement", "jaccard", "spearman", "scored"]


def label_stability(connection: duckdb.DuckDBPyConnection, study: Study) -> pd.DataFrame:
    """Columns of the table `label_stability`, for all audited models, at the last checkpoint.

    Args:
        connection: on the warehouse, with all models loaded.
        study: the study.

    Returns:
        One row per target, comparison, number of shadow models and draw; none with fewer than five models.
    """
    outputs = attack_outputs(connection, study, study.training.checkpoints[-1])
    attack, rule = ATTACKS[study.labels.attack], label_rule(study)
    if not attack.reads_queries:
        outputs = replace(outputs, query_gaps=None)
    frames = [pd.DataFrame(columns=_COLUMNS)]
    for target in study.shadows.audited:
        member = outputs.in_train[target]

        def score(models: np.ndarray, target: int = target, member: np.ndarray = member) -> np.ndarray:
            return attack.scores(outputs.of_models(np.array([target, *models])), 0)[member]

        shadows = [seed for seed in study.seeds if seed != target]
        rows = resample(score, rule, shadows)
        frames.append(pd.DataFrame(rows).assign(target_seed=np.int32(target)))
    filled = [frame for frame in frames[1:] if len(frame)]
    return pd.concat(filled or frames[:1], ignore_index=True)[_COLUMNS]


def attack_agreement(subject: Subject) -> pd.DataFrame:
    """attack, spearman, overlap: scores and memorized samples of every attack against the study's labels.

    `overlap` is the share of memorized samples that both find (Dice), nan where neither finds any; `spearman` the rank
    correlation over the samples with both scores. Both are of the last checkpoint.
    """
    by_attack = {
        str(name): rows.set_index("sample_id")
        for name, rows in attack_scores(subject).groupby("attack", sort=False)
    }
    own = by_attack[subject.study.labels.attack]
    return pd.DataFrame(
        [
            {
                "attack": name,
                "spearman": own["score"].corr(rows["score"], method="spearman"),
                "overlap": _dice(own["memorized"].to_numpy(bool), rows["memorized"].to_numpy(bool)),
            }
            for name, rows in by_attack.items()
        ]
    )


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    either = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / either if either else np.nan


def stability_points(subject: Subject) -> pd.DataFrame:
    """comparison, measure (agreement, spearman), n_shadows, q25, median, q75 over draws."""
    return subject.frame(
        """
        SELECT comparison, measure, n_shadows, quantile_cont(value, .25) AS q25, median(value) AS median,
               quantile_cont(value, .75) AS q75
        FROM (UNPIVOT (SELECT comparison, n_shadows, agreement, spearman FROM label_stability
                       WHERE study = $study AND target_seed = $target)
              ON agreement, spearman INTO NAME measure VALUE value)
        WHERE isfinite(value) GROUP BY ALL ORDER BY comparison, measure, n_shadows
        """
    )


def stability_verdict(points: pd.DataFrame, n_shadows: int) -> Verdict | None:
    """Whether there are shadow models enough; None if there are too few to tell.

    Args:
        points: as `stability_points` returns.
        n_shadows: shadow models there are, the target left out.
    """
    rows = points[(points["comparison"] == DISJOINT) & (points["measure"] == "agreement")]
    if rows.empty:
        return None
    return verdict(rows["n_shadows"].tolist(), rows["median"].tolist(), n_shadows)


def advice(points: pd.DataFrame, n_shadows: int) -> str:
    """One or two sentences: train more shadow models or stop.

    Args:
        points: as `stability_points` returns.
        n_shadows: shadow models there are, the target left out.
    """
    found = stability_verdict(points, n_shadows)
    if found is None:
        return "Too few shadow models: two sets of four without a common one are needed to tell how stable labels are."
    if found.stable_from is not None:
        return (
            f"Labels are stable enough from {found.stable_from} shadow models on: two sets without a common model find "
            f"at least {ENOUGH:.0%} of each other's memorized samples. Stop here."
        )
    rows = points[(points["comparison"] == DISJOINT) & (points["measure"] == "agreement")]
    seen = f"Two sets of {rows['n_shadows'].iloc[-1]} find {rows['median'].iloc[-1]:.0%} of each other's memorized samples"
    if found.gain is None:
        return f"{seen}: one size only, train more shadow models to see where it goes."
    if found.expected >= ENOUGH:
        return (
            f"{seen}; as twice the models adds {found.gain:.2f}, labels from all {n_shadows} are about stable. "
            "Stop here, or double once to be sure."
        )
    if found.gain >= WORTH_IT:
        return f"{seen}, and twice the models adds {found.gain:.2f}: more shadow models would still change labels."
    return (
        f"{seen}, and twice the models adds less than {WORTH_IT:g}: more of them will not settle the labels; "
        "another attack or threshold may."
    )
