"""Blocks of split seeds into the warehouse, and the helper that publishes computed tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from memo_assets.assets.recording import all_recorded, provenance, record_partition
from memo_assets.assets.spec import blocks, study_asset
from memo_assets.assets.undamaged import Written
from memo_assets.config import Study
from memo_assets.store.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

POOL = "duckdb"


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Asset `shadow_logits`.

    Args:
        study: the study.
    """

    @study_asset(study, "shadow_logits", pool=POOL)
    def shadow_logits(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from memo_assets.store.load import block_version, load_block
        from memo_assets.store.provenance import record_provenance
        from memo_assets.store.tables import ROW_GROUPS_MEMORY, publish

        layout = Layout.of(study.name)
        wanted = {partition: blocks(study)[partition] for partition in context.partition_keys}
        versions, rows = {}, {}
        written = Written(study, context.instance)
        for name in ("split_masks", "logits"):
            written.require(name, [seed for seeds in wanted.values() for seed in seeds])
        with publish(memory=ROW_GROUPS_MEMORY) as connection:
            for partition, seeds in wanted.items():
                rows[partition] = load_block(connection, layout, seeds)
                versions[partition] = block_version(layout, seeds, written.hash_of)
                record_provenance(
                    connection,
                    study.name,
                    provenance(context, versions[partition]),
                    rows[partition],
                    block=partition,
                    split_seeds=seeds,
                )
        for partition, seeds in wanted.items():
            metadata: dict[str, Any] = {f"{table}_rows": count for table, count in rows[partition].items()}
            metadata |= {"dagster/row_count": rows[partition]["logits"], "models": len(seeds)}
            record_partition(context, partition, data_version=versions[partition], metadata=metadata)
        return all_recorded()

    return [shadow_logits]


def publish_tables(
    context: dg.AssetExecutionContext, study: Study, frames: "Mapping[str, pd.DataFrame]"
) -> str:
    """Write a study's rows of tables to Parquet and put them in the warehouse, in one transaction.

    Args:
        context: of the running asset.
        study: the study.
        frames: rows by table, without the column `study`, in the order of the key.

    Returns:
        Content hash of what was written: the data version.
    """
    import pyarrow as pa

    from memo_assets.store.files import content_hash, write_parquet
    from memo_assets.store.load import load_parquet
    from memo_assets.store.provenance import record_provenance
    from memo_assets.store.tables import publish

    layout = Layout.of(study.name)
    paths = {table: layout.table(table) for table in frames}
    for table, frame in frames.items():
        write_parquet(paths[table], pa.Table.from_pandas(frame, preserve_index=False))
    version = content_hash(*paths.values())
    with publish() as connection:
        where = {"study": study.name}
        rows = {table: load_parquet(connection, table, path, where=where) for table, path in paths.items()}
        record_provenance(connection, study.name, provenance(context, version), rows)
    return version
