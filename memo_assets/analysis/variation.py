"""Accuracy on varied questions, among memorized training samples and among the others."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from memo_assets.analysis.frames import Subject
from memo_assets.config import Study
from memo_assets.measures.intervals import exact_rate

AMONG = ("memorized", "other", "all")
ACCURACY, VARIED, LOST = "accuracy", "varied_accuracy", "lost"


def answers(files: Mapping[int, Path]) -> pd.DataFrame:
    """Columns of the table `answer_variation`, by target and sample.

    Args:
        files: by target, what its model answered.
    """
    frames = [
        pq.read_table(path).to_pandas(ignore_metadata=True).assign(target_seed=np.int32(target))
        for target, path in files.items()
    ]
    columns = ["target_seed", "sample_id", "outcome", "gap", "varied_gap", "is_right", "varied_is_right"]
    return pd.concat(frames)[columns].sort_values(["target_seed", "sample_id"], ignore_index=True)


def summary(connection: duckdb.DuckDBPyConnection, study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of the table `answer_variation_summary`.

    Samples left out by the variation, and those whose given label is not the true one, do not count.

    Args:
        connection: on the warehouse, with samples and labels.
        study: the study.
        frame: of `answers`.

    Returns:
        One row per target, group of samples and measure. `lost` is counted among those answered right before.

    Source: Salido et al., arXiv 2502.12896 (accuracy before and after); Clopper and Pearson, 1934 (the intervals).
    """
    connection.register("varied_answers", frame)
    counted = connection.execute(
        """
        SELECT target_seed, memorized, is_right, varied_is_right
        FROM varied_answers JOIN memorization USING (target_seed, sample_id) JOIN samples USING (study, sample_id)
        WHERE study = $study AND epoch = $epoch AND outcome = 'varied' AND true_index = given_index
        ORDER BY target_seed, sample_id
        """,
        {"study": study.name, "epoch": study.training.checkpoints[-1]},
    ).df()
    connection.unregister("varied_answers")
    rows = []
    for target in study.shadows.audited:
        own = counted[counted["target_seed"] == target]
        memorized, before, after = (
            own[name].to_numpy(dtype=bool) for name in ("memorized", "is_right", "varied_is_right")
        )
        for among, chosen in zip(AMONG, (memorized, ~memorized, np.ones(len(own), dtype=bool)), strict=True):
            for measure, successes, trials in (
                (ACCURACY, before & chosen, chosen),
                (VARIED, after & chosen, chosen),
                (LOST, before & ~after & chosen, before & chosen),
            ):
                rate = exact_rate(int(successes.sum()), int(trials.sum()))
                values = (rate.value, rate.low, rate.high, rate.successes, rate.trials)
                rows.append((np.int32(target), among, measure, *values))
    columns = ["target_seed", "among", "measure", "rate", "low", "high", "successes", "trials"]
    kinds = {"rate": float, "low": float, "high": float, "successes": np.int32, "trials": np.int32}
    table = pd.DataFrame(rows, columns=columns).astype({"target_seed": np.int32, **kinds})
    return table.sort_values(["target_seed", "among", "measure"], ignore_index=True)


def variation_rates(subject: Subject) -> pd.DataFrame:
    """among, measure, rate, low, high, successes, trials of the audited model."""
    return subject.frame(
        """
        SELECT among, measure, rate, low, high, successes, trials FROM answer_variation_summary
        WHERE study = $study AND target_seed = $target ORDER BY among, measure
        """
    )


def drop_in_words(rates: pd.DataFrame) -> str:
    """How many of the right answers are lost, among memorized samples and among the others.

    Args:
        rates: as `variation_rates` returns.
    """
    lost = rates[rates["measure"] == LOST].set_index("among")
    return "; ".join(
        f"{among}: {lost.loc[among, 'successes']} of {lost.loc[among, 'trials']} right answers lost"
        for among in AMONG[:2]
        if among in lost.index
    )
