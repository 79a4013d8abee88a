"""The table of protected variants beside their studies: what it is made of, and its place in the warehouse."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.config.base import COMPARISON
from memo_assets.graph import AUDIT, code_versions
from memo_assets.store.layout import Layout
from memo_assets.study_protections import ProtectedStudy, protected_studies

if TYPE_CHECKING:
    from memo_assets.analysis.mitigations import Facts

TABLE = "mitigation_comparison"
KEY = dg.AssetKey([COMPARISON, TABLE])
_READ = ("samples", "shadow_logits", "memorization")
_READ_OF_STUDY = (*_READ, "predictor_evaluation")  # which says when the prediction epoch is
# Raise it when the same inputs would give another table.
_ALGORITHM = 1


def build(studies: Sequence[Study]) -> dg.AssetsDefinition:
    """Asset `mitigation_comparison` over those of the studies that have protected variants.

    Args:
        studies: in the order in which they are shown.
    """
    protected = protected_studies(studies)

    @dg.asset(
        key=KEY,
        deps=[*_upstream(protected)],
        description="Protected variants beside their studies: test accuracy, memorization, and how well an attack tells "
        "members, on the samples protected and on those left. Table `mitigation_comparison`.",
        group_name=COMPARISON,
        kinds={"duckdb"},
        code_version=code_version(studies),
        pool="duckdb",
    )
    def mitigation_comparison(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pyarrow as pa

        from memo_assets.analysis import mitigations as analysis
        from memo_assets.store.files import content_hash, write_parquet
        from memo_assets.store.rows import replace_rows
        from memo_assets.store.tables import publish, reading

        facts = _facts(context, protected)
        with reading() as connection:
            frame = analysis.mitigation_comparison(connection, protected, facts)
            missing = analysis.not_in_warehouse(connection, protected)
        path = Layout.of(COMPARISON).table(TABLE)
        write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False))
        with publish() as connection:
            query = "SELECT * FROM read_parquet(?, hive_partitioning = false)"
            where = {"study": [one.study.name for one in protected]}
            rows = replace_rows(connection, TABLE, query, [str(path)], where=where) if protected else 0
        metadata = {"dagster/row_count": rows, "missing": ", ".join(missing) or "none"}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(content_hash(path)))

    return mitigation_comparison


def code_version(studies: Sequence[Study]) -> str:
    """Code version of the table: a hash of all that the studies and variants are made of, and of how they differ."""
    parts = {
        "algorithm": _ALGORITHM,
        "studies": {
            study.name: [
                None if study.protection is None else study.protection.settings(),
                *(code_versions(study)[name] for name in names),
            ]
            for one in protected_studies(studies)
            for study, names in _read(one)
        },
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(one: ProtectedStudy) -> list[tuple[Study, tuple[str, ...]]]:
    """The assets that are read of a study and of each variant."""
    return [(one.study, _READ_OF_STUDY), *((variant, _READ) for variant in one.variants.values())]


def _upstream(protected: Sequence[ProtectedStudy]) -> list[dg.AssetKey]:
    keys = []
    for one in protected:
        keys += [asset_key(study, name) for study, names in _read(one) for name in names]
        if one.uses_audit:
            keys.append(dg.AssetKey([one.study.name, AUDIT]))
    return keys


def _facts(context: dg.AssetExecutionContext, protected: Sequence[ProtectedStudy]) -> "Facts":
    """What audits flag and training logs say of privacy, as far as the files are there."""
    import pandas as pd

    from memo_assets.analysis.mitigations import Facts
    from memo_assets.store.files import read_json

    flagged, privacy = {}, {}
    for one in protected:
        audit = Layout.of(one.study.name).audit_scores
        if one.uses_audit and audit.is_file():
            frame = pd.read_parquet(audit, columns=["sample_id", "flagged"])
            flagged[one.study.name] = frame.loc[frame["flagged"].astype(bool), "sample_id"].tolist()
        elif one.uses_audit:
            context.log.warning(
                f"{audit} is not there, so samples protected and left are not told apart: materialize {one.study.name}/{AUDIT}"
            )
        for variant in one.variants.values():
            log = Layout.of(variant.name).training_log(variant.shadows.audited[0])
            if log.is_file() and (said := read_json(log).get("privacy")):
                privacy[variant.name] = (said["epsilon"], said["delta"])
    return Facts(flagged, privacy)
