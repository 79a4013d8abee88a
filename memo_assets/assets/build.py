"""All assets of one study."""

import dagster as dg

from memo_assets.assets import (
    audit,
    figures,
    labels,
    predictors,
    protection,
    report,
    samples,
    source,
    training,
    variation,
    warehouse,
)
from memo_assets.config import Study


def study_assets(study: Study) -> list[dg.AssetsDefinition]:
    """The asset graph of a study, upstream first.

    Args:
        study: the study.
    """
    modules = (
        source, samples, protection, training, audit, warehouse, labels, predictors, variation, figures, report,
    )  # fmt: skip
    return [asset for module in modules for asset in module.build(study)]
