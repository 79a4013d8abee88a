"""Memorization labels: local (of the audited models), how stable and how skewed they are, population (over all models)."""

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.warehouse import POOL, publish_tables
from memo_assets.config import Study


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `memorization`, `label_stability`, `memorization_skewness` and `population_memorization`.

    Args:
        study: the study.
    """

    @study_asset(study, "memorization", pool=POOL)
    def memorization(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.labels import memorization as compute
        from memo_assets.store.tables import MATRICES_MEMORY, reading

        if study.shadows.models < 33:
            context.log.warning(
                f"{study.shadows.models} models: with fewer than 33 a sample's label depends on chance; raise shadows.models"
            )
        with reading(memory=MATRICES_MEMORY) as connection:
            frame, scores = compute(connection, study)
        version = publish_tables(context, study, {"memorization": frame, "memorization_scores": scores})
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

    @study_asset(study, "label_stability", pool=POOL)
    def label_stability(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.frames import Subject
        from memo_assets.analysis.stability import advice, stability_points, stability_verdict
        from memo_assets.analysis.stability import label_stability as compute
        from memo_assets.store.tables import MATRICES_MEMORY, reading

        with reading(memory=MATRICES_MEMORY) as connection:
            frame = compute(connection, study)
        version = publish_tables(context, study, {"label_stability": frame})
        with reading() as connection:
            points = stability_points(Subject(connection, study, study.shadows.audited[0]))
        shadows = study.shadows.models - 1
        found, sentence = stability_verdict(points, shadows), advice(points, shadows)
        context.log.info(sentence)
        metadata: dict = {"dagster/row_count": len(frame), "advice": sentence}
        if found is not None:
            metadata["expected_agreement"] = found.expected
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    @study_asset(study, "memorization_skewness", pool=POOL)
    def memorization_skewness(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.skewness import memorization_skewness as compute
        from memo_assets.store.layout import Layout
        from memo_assets.store.tables import reading

        with reading() as connection:
            frame = compute(connection, study, Layout.of(study.name).samples)
        version = publish_tables(context, study, {"memorization_skewness": frame})
        of_epochs = frame[(frame["target_seed"] == study.shadows.audited[0]) & (frame["over"] == "epoch")]
        last = of_epochs[of_epochs["value"] == of_epochs["value"].max()].set_index("measure")["estimate"]
        metadata: dict = {"dagster/row_count": len(frame)}
        metadata |= {
            name: float(last[name]) for name in ("skewness", "top_10_share") if last[name] == last[name]
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    @study_asset(study, "population_memorization", pool=POOL)
    def population_memorization(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.analysis.labels import population_memorization as compute
        from memo_assets.store.tables import MATRICES_MEMORY, reading

        with reading(memory=MATRICES_MEMORY) as connection:
            frame = compute(connection, study)
        version = publish_tables(context, study, {"population_memorization": frame})
        last = frame[frame["epoch"] == frame["epoch"].max()]
        metadata = {
            "dagster/row_count": len(frame),
            "attack_success_rate": float(last["attack_success_rate"].mean()),
            "counterfactual_memorization": float(last["counterfactual"].mean()),
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    return [memorization, label_stability, memorization_skewness, population_memorization]
