"""What the audit of a file and the audit of a study record alike: the samples at risk, and how the loss fell.

What belongs here: from tables and numbers to records and sentences that both use. What does not: what only one of them says
(`telling`, `of_study`). No torch: assets read this too.
"""

import pandas as pd

from memo_assets.audit.summary import RateRecord, RiskRecord
from memo_assets.measures.intervals import exact_rate
from memo_assets.measures.risk import RULE


def risk_record(table: pd.DataFrame) -> RiskRecord:
    """Counts of the samples at risk.

    Args:
        table: one row a sample: flagged, psmi (nan: not scored), suspected_label (null: none), copies.
    """
    return RiskRecord(
        rule=RULE,
        share=RateRecord.of(exact_rate(int(table["flagged"].sum()), len(table))),
        unscored=int(table["psmi"].isna().sum()),
        suspected_label_errors=int(table["suspected_label"].notna().sum()),
        exact_duplicates=int((table["copies"] > 0).sum()),
    )


def fall_in_words(reference: float, median: float) -> str:
    """How far the median loss fell.

    Args:
        reference: median loss of the untrained model.
        median: the last one known.
    """
    share = f" by {1 - median / reference:.0%}" if reference else ""
    return f"the median loss fell{share} (from {reference:.3g} to {median:.3g})"


def stop_in_words(reference: float, median: float, *, steps: int, epoch: float) -> str:
    """Where a run stopped whose median loss fell far enough.

    Args:
        reference: median loss of the untrained model.
        median: that by which the run was stopped.
        steps: optimizer steps made.
        epoch: of the stop.
    """
    return (
        f"{fall_in_words(reference, median)} after {steps} steps, at epoch {epoch:.3g}: there the samples were scored, and training "
        "stopped"
    )
