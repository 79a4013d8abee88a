"""How predictors and accuracy change with the values of a sweep."""

import json
from collections.abc import Sequence

import pandas as pd

from memo_assets.analysis.comparison import Comparison
from memo_assets.config import Study
from memo_assets.study_sweep import SweptStudy

PREDICTORS = ("psmi", "loss", "logit_gap")
_COLUMNS = ("study", "field", "value", "name", "itself", "line", "epoch", *PREDICTORS, "test_accuracy")


def over_swept_values(comparison: Comparison, swept: Sequence[SweptStudy]) -> pd.DataFrame:
    """One row a swept field and evaluated study; none of a swept study without an evaluated variant.

    Args:
        comparison: of the swept studies and their variants.
        swept: in the order in which they are to be shown.

    Returns:
        study: title of the swept study.
        field: its dotted name.
        value: of this study, as in `SweptStudy.fields`.
        name: of this study.
        itself: whether this is the swept study, and no variant of it.
        line: equal for studies that a line over the field joins: those with the same values of the other fields, or all
            variants where no two have the same value of the field, as in a sweep of the mode zip.
        epoch: at which the predictors are judged.
        psmi, loss, logit_gap: FPR at TPR .75 in the last layer, nan where there is none.
        test_accuracy: of the audited model at the last checkpoint.
    """
    rows = []
    for one in swept:
        there = [study for study in one.studies if study in comparison.there]
        if not any(study in one.variants for study in there):
            continue
        measured = {study.name: _measures(comparison, study) for study in there}
        rows += [
            {
                "study": one.study.title,
                "field": field,
                "value": values[study.name],
                "name": study.name,
                "itself": study == one.study,
                "line": _line(one, field, study.name),
                **measured[study.name],
            }
            for field, values in one.fields.items()
            for study in there
        ]
    # Values stay what they are: left to itself, pandas makes one type of 8, 0.1 and None.
    values = pd.Series([row.pop("value") for row in rows], dtype=object)
    return pd.DataFrame(rows).assign(value=values).reindex(columns=list(_COLUMNS))


def _measures(comparison: Comparison, study: Study) -> dict[str, float]:
    judged = comparison.judged(study).set_index("predictor")
    fprs = judged["fpr_at_tpr"].reindex(PREDICTORS)
    query = """
        SELECT avg((l.logit_gap > 0)::INTEGER) FROM logits l JOIN samples s USING (study, sample_id)
        WHERE l.study = $study AND l.split_seed = $target AND s.part = 'test'
          AND l.epoch = (SELECT max(epoch) FROM logits WHERE study = $study AND split_seed = $target)
    """
    used = {"study": study.name, "target": study.shadows.audited[0]}
    row = comparison.connection.execute(query, used).fetchone()
    assert row is not None
    accuracy = float("nan") if row[0] is None else float(row[0])
    rates = {predictor: float(fprs[predictor]) for predictor in PREDICTORS}
    return {"epoch": float(judged["epoch"].iloc[0]), **rates, "test_accuracy": accuracy}


def _line(swept: SweptStudy, field: str, name: str) -> str:
    distinct = {json.dumps(swept.fields[field][variant.name]) for variant in swept.variants}
    if name != swept.study.name and len(distinct) == len(swept.variants):
        return "[]"
    return json.dumps([values[name] for other, values in swept.fields.items() if other != field])
