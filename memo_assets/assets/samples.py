"""Raw data set, samples and split masks of a study."""

from pathlib import Path

import dagster as dg

from memo_assets.assets.recording import all_recorded, provenance, record_partition
from memo_assets.assets.source import reading
from memo_assets.assets.spec import study_asset
from memo_assets.assets.undamaged import Written
from memo_assets.config import Study
from memo_assets.store.layout import Layout


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `raw_dataset`, `samples` and `split_masks`.

    Args:
        study: the study.
    """

    @study_asset(study, "raw_dataset")
    def raw_dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pyarrow as pa

        from memo_assets.data.images import ROW_GROUP_SIZE
        from memo_assets.data.items import load_items
        from memo_assets.store.files import content_hash, write_parquet

        layout = Layout.of(study.name)
        with reading(context, study) as source:
            items = load_items(study.data, study.data_seed, Path.cwd())
        table = pa.Table.from_pandas(items.frame, preserve_index=False)
        write_parquet(layout.items, table, row_group_size=None if study.is_language else ROW_GROUP_SIZE)
        paths = [layout.items]
        metadata: dict = {
            "dagster/row_count": len(items.frame),
            "labels": _counts(items.frame["label"]),
            "source": source.place,
            "source_version": source.version,
        }
        layout.background.unlink(missing_ok=True)
        if items.background is not None:
            write_parquet(layout.background, pa.Table.from_pandas(items.background, preserve_index=False))
            paths.append(layout.background)
            metadata["background_rows"] = len(items.background)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(content_hash(*paths)))

    @study_asset(study, "samples", pool="duckdb")
    def samples(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.data.images import ROW_GROUP_SIZE
        from memo_assets.data.items import Items
        from memo_assets.data.samples import build_samples, samples_table
        from memo_assets.store.files import content_hash, write_parquet
        from memo_assets.store.load import load_samples
        from memo_assets.store.provenance import record_provenance
        from memo_assets.store.tables import publish

        layout = Layout.of(study.name)
        Written(study, context.instance).require("raw_dataset")
        frame = build_samples(Items(pd.read_parquet(layout.items), None), study)
        row_group_size = None if study.is_language else ROW_GROUP_SIZE
        write_parquet(layout.samples, samples_table(frame), row_group_size=row_group_size)
        version = content_hash(layout.samples)
        with publish() as connection:
            loaded = {"samples": load_samples(connection, layout)}
            record_provenance(connection, study.name, provenance(context, version), loaded)
        pool = frame[frame["part"] == "pool"]
        noisy = pool["label_status"] == "random"
        metadata: dict = {
            "dagster/row_count": len(frame),
            "pool": len(pool),
            "test": len(frame) - len(pool),
            "noisy_labels": int(noisy.sum()),
            "wrong_labels": int((pool["given_label"] != pool["true_label"]).sum()),
            "given_labels": _counts(pool["given_label"]),
        }
        if study.show_text and study.is_language:
            rows = [
                dg.TableRecord({"prompt": prompt, "answer": answer})
                for prompt, answer in frame[["prompt", "given_label"]].head(5).astype(str).to_numpy()
            ]
            metadata["first_samples"] = dg.MetadataValue.table(rows)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    @study_asset(study, "split_masks")
    def split_masks(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from memo_assets.data.splits import training_positions
        from memo_assets.store.files import content_hash, write_parquet

        layout = Layout.of(study.name)
        Written(study, context.instance).require("samples")
        table = pq.read_table(layout.samples, columns=["sample_id", "part"])
        pool = table.column("sample_id").to_numpy()[np.asarray(table.column("part").to_pylist()) == "pool"]
        for partition in context.partition_keys:
            seed = int(partition)
            of = study.shadows
            ids = pool[training_positions(len(pool), of.train_share, seed, membership=of.membership)]
            write_parquet(layout.split_mask(seed), pa.table({"sample_id": ids}))
            version = content_hash(layout.split_mask(seed))
            record_partition(
                context, partition, data_version=version, metadata={"dagster/row_count": len(ids)}
            )
        return all_recorded()

    return [raw_dataset, samples, split_masks]


def _counts(labels) -> dict[str, int]:
    return {str(label): int(count) for label, count in labels.value_counts().sort_index().items()}
