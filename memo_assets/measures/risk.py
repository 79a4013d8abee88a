"""The default rule, and samples in the order of their risk.

What belongs here: what a PSMI means for a sample. What does not: PSMI (`psmi`). No torch: assets read this too.
"""

import numpy as np
import pandas as pd

RULE = "PSMI of the last layer below 0"


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by risk: lowest PSMI first, those without PSMI last; with their rank from 1.

    Args:
        table: column psmi and others.
    """
    ordered = table.sort_values("psmi", kind="stable", na_position="last", ignore_index=True)
    ordered.insert(0, "rank", np.arange(1, len(ordered) + 1))
    return ordered
