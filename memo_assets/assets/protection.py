"""What a protected variant does with the samples at risk, from the audit of its base study."""

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.config import Study
from memo_assets.graph import AUDIT
from memo_assets.store.layout import Layout


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Asset `protected` of a variant that treats samples at risk; of other studies none.

    Args:
        study: the study.
    """
    protection = study.protection
    if protection is None or protection.at_risk is None:
        return []
    at_risk, base = protection.at_risk, protection.base

    @study_asset(study, "protected")
    def protected() -> dg.MaterializeResult:
        import pandas as pd
        import pyarrow as pa

        from memo_assets.data.errors import AuditError
        from memo_assets.data.protection import protected_samples
        from memo_assets.store.files import content_hash, write_parquet

        layout, audit = Layout.of(study.name), Layout.of(base).audit_scores
        if not audit.is_file():
            raise dg.Failure(
                f"{study.name}/protected needs the audit of study {base}, and {audit} is not there: materialize {base}/{AUDIT}"
            )
        columns = ["sample_id", "part", "given_index", "options"]
        samples = pd.read_parquet(layout.samples, columns=columns)
        try:
            frame = protected_samples(samples, pd.read_parquet(audit), at_risk)
        except AuditError as error:
            raise dg.Failure(f"{study.name}/protected: {error}") from error
        write_parquet(layout.protected, pa.Table.from_pandas(frame, preserve_index=False))
        actions = {str(action): int(n) for action, n in frame["action"].value_counts().sort_index().items()}
        pool = int((samples["part"] == "pool").sum())
        return dg.MaterializeResult(
            metadata={"dagster/row_count": len(frame), "pool": pool, **actions},
            data_version=dg.DataVersion(content_hash(layout.protected)),
        )

    return [protected]
