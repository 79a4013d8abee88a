"""Memorization labels: local (log-LiRA of the audited models) and population (over all models)."""

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.warehouse import POOL, publish_table
from memo_assets.config import Study


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `memorization` and `population_memorization`.

    Args:
        study: the study.
    """

    @study_asset(study, "memorization", pool=POOL)
    def memorization(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.labels import memorization as compute
        from memo_assets.store.tables import reading

        if study.shadows.models < 33:
            context.log.warning(
                f"{study.shadows.models} models: with fewer than 33 a sample's label depends on chance; raise shadows.models"
            )
        with reading() as connection:
            frame = compute(connection, study)
        version = publish_table(study, "memorization", frame)
        last = frame[frame["epoch"] == frame["epoch"].max()]
        metadata = {
            "dagster/row_count": len(frame),
            "memorized": int(last["memorized"].sum()),
            "median_log_lira": float(last["log_lira"].median()),
            "share_clipped": float((last["log_lira"].abs() > last["log_lira_clipped"].abs()).mean()),
            "fewest_in_models": int(last["n_in"].min()),
            "fewest_out_models": int(last["n_out"].min()),
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    @study_asset(study, "population_memorization", pool=POOL)
    def population_memorization() -> dg.MaterializeResult:
        from memo_assets.analysis.labels import population_memorization as compute
        from memo_assets.store.tables import reading

        with reading() as connection:
            frame = compute(connection, study)
        version = publish_table(study, "population_memorization", frame)
        last = frame[frame["epoch"] == frame["epoch"].max()]
        metadata = {
            "dagster/row_count": len(frame),
            "attack_success_rate": float(last["attack_success_rate"].mean()),
            "counterfactual_memorization": float(last["counterfactual"].mean()),
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    return [memorization, population_memorization]
