"""The audit of a study as assets: its table and its page. The training run is in `training`."""

from datetime import UTC, datetime

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.undamaged import Written
from memo_assets.assets.warehouse import POOL, publish_tables
from memo_assets.config import Study
from memo_assets.store.layout import Layout


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `at_risk` and `audit_report`.

    Args:
        study: the study.
    """

    @study_asset(study, "at_risk", pool=POOL)
    def at_risk(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.audit.of_study import at_risk_table
        from memo_assets.store.files import read_json

        written = Written(study, context.instance)
        for upstream in ("samples", "audit"):
            written.require(upstream)
        layout = Layout.of(study.name)
        run = read_json(layout.audit_run)
        if not run["reached"]:
            context.log.warning(
                f"the median loss of the audited run never fell by {run['drop']:.0%}: its scores are those of the last epoch. Train "
                "longer, or lower scores.loss_drop (training.trigger.drop where there is a trigger)"
            )
        frame = at_risk_table(
            pd.read_parquet(layout.samples), pd.read_parquet(layout.audit_scores), study.data_seed
        )
        version = publish_tables(context, study, {"at_risk": frame})
        metadata = {
            "dagster/row_count": len(frame),
            "flagged": int(frame["flagged"].sum()),
            "flagged_share": float(frame["flagged"].mean()),
            "suspected_label_errors": int(frame["suspected_label"].notna().sum()),
            "samples_with_copies": int((frame["copies"] > 0).sum()),
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    @study_asset(study, "audit_report")
    def audit_report() -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.audit.of_study import study_result
        from memo_assets.audit.result import PAGE
        from memo_assets.audit.summary import ModelRecord
        from memo_assets.store.files import content_hash, read_json

        layout = Layout.of(study.name)
        run = {**read_json(layout.audit_run), **read_json(layout.audit_cost)}
        known = read_json(layout.base_model) if study.is_language else {}
        model = ModelRecord(
            name=str(known.get("name") or study.model.kind),
            version=str(known.get("data_version") or "trained from scratch"),
            parameters=run["parameters"],
            note=None,
        )
        result = study_result(
            study,
            pd.read_parquet(layout.samples),
            pd.read_parquet(layout.table("at_risk")),
            run,
            model=model,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        path = result.save(layout.audit_report)
        share = result.summary.risk.share
        metadata = {
            "page": dg.MetadataValue.path(layout.audit_report / PAGE),
            "content_hash": read_json(path)["content_hash"],
            "summary": dg.MetadataValue.path(path),
            "flagged": f"{share.successes} of {share.trials}",
        }
        # Not of the page itself, which tells the time: the same table gives the same report.
        version = content_hash(layout.table("at_risk"), layout.audit_run)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    return [at_risk, audit_report]
