"""What audited models answer to varied questions, in the warehouse; of studies whose options stand for texts."""

import math

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.warehouse import POOL, publish_tables
from memo_assets.config import Study
from memo_assets.store.layout import Layout


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Asset `variation_summary`, if the study has choices.

    Args:
        study: the study.
    """
    if not study.has_choices:
        return []

    @study_asset(study, "variation_summary", pool=POOL)
    def variation_summary(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.variation import answers, summary
        from memo_assets.store.tables import reading

        layout = Layout.of(study.name)
        frame = answers({seed: layout.answer_variation(seed) for seed in study.shadows.audited})
        with reading() as connection:
            rates = summary(connection, study, frame)
        version = publish_tables(
            context, study, {"answer_variation": frame, "answer_variation_summary": rates}
        )
        first = rates[(rates["target_seed"] == study.shadows.audited[0]) & (rates["measure"] == "lost")]
        metadata: dict = {
            "dagster/row_count": len(frame),
            "left_out": int((frame["outcome"] != "varied").sum()),
        }
        metadata |= {
            f"lost_among_{among}": float(rate)
            for among, rate in zip(first["among"], first["rate"], strict=True)
            if not math.isnan(rate)
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    return [variation_summary]
