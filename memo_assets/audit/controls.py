"""What an audit says of its planted samples.

What belongs here: detection rates by kind. What does not: how the samples are made (`canaries`).
"""

import pandas as pd

from memo_assets.audit.canaries import KINDS
from memo_assets.audit.summary import ControlRecord, Expected, RateRecord
from memo_assets.measures.intervals import exact_rate

_EXPECTED: dict[bool | None, Expected] = {True: "flagged", False: "not flagged", None: "either"}


def control_records(planted: pd.DataFrame) -> list[ControlRecord]:
    """Detection rates of planted samples.

    Args:
        planted: canary (the kind), flagged, suspected_label (None: none); one row a planted sample.
    """
    records = []
    for kind, meant in KINDS.items():
        rows = planted[planted["canary"] == kind]
        n = len(rows)
        if not n:
            continue
        records.append(
            ControlRecord(
                kind=kind,
                meaning=meant.meaning,
                expected=_EXPECTED[meant.should_flag],
                flagged=RateRecord.of(exact_rate(int(rows["flagged"].sum()), n)),
                suspected=RateRecord.of(exact_rate(int(rows["suspected_label"].notna().sum()), n)),
            )
        )
    return records
