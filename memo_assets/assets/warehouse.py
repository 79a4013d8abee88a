"""Blocks of split seeds into the warehouse, and the helper that publishes a computed table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from memo_assets.assets.recording import all_recorded, record_partition
from memo_assets.assets.spec import blocks, study_asset
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
        from memo_assets.store.files import content_hash
        from memo_assets.store.load import load_block
        from memo_assets.store.tables import publish

        layout = Layout.of(study.name)
        wanted = {partition: blocks(study)[partition] for partition in context.partition_keys}
        with publish() as connection:
            rows = {partition: load_block(connection, layout, seeds) for partition, seeds in wanted.items()}
        for partition, seeds in wanted.items():
            files = [layout.logits(seed) for seed in seeds] + [layout.split_mask(seed) for seed in seeds]
            metadata: dict[str, Any] = {f"{table}_rows": count for table, count in rows[partition].items()}
            metadata |= {"dagster/row_count": rows[partition]["logits"], "models": len(seeds)}
            record_partition(context, partition, data_version=content_hash(*files), metadata=metadata)
        return all_recorded()

    return [shadow_logits]


def publish_table(
    study: Study, table: str, frame: "pd.DataFrame", extra: dict[str, Path] | None = None
) -> str:
    """Write a study's rows of a table to Parquet and put them in the warehouse.

    Args:
        study: the study.
        table: name of the table.
        frame: its rows, without the column `study`, in the order of the key.
        extra: further tables published in the same transaction, by name, from Parquet files of the same form.

    Returns:
        Content hash of what was written: the data version.
    """
    import pyarrow as pa

    from memo_assets.store.files import content_hash, write_parquet
    from memo_assets.store.load import load_parquet
    from memo_assets.store.tables import publish

    path = Layout.of(study.name).table(table)
    write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False))
    with publish() as connection:
        for name, file in {table: path, **(extra or {})}.items():
            load_parquet(connection, name, file, where={"study": study.name})
    return content_hash(path)
