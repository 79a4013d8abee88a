"""A study of 90 digits on disk, up to its split masks, and work items for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from memo_assets.compute.items import WorkItem
from memo_assets.compute.source import source_version
from memo_assets.config import GpuStep, Study
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.splits import split_mask
from memo_assets.graph import code_versions
from memo_assets.store.files import content_hash, write_parquet
from memo_assets.store.layout import Layout
from memo_assets_tests.studies import DIGITS, study

# More steps than any test waits for.
ENDLESS = {"training.epochs": 1_000_000, "training.checkpoints": [0, 1_000_000]}


def small_study(changes: dict[str, Any] | None = None) -> Study:
    """90 images, 4 models, 2 epochs; few random directions."""
    cheap = {
        "scores.psmi_directions": 5,
        "scores.smi_directions": 3,
        "compute.device": "cpu",
        "shadows.audited": [1],
    }
    return study(DIGITS, {**cheap, **(changes or {})})


def write_inputs(warehouse: Path, of: Study) -> Layout:
    """Write samples and split masks as their assets do."""
    layout = Layout(warehouse, of.name)
    samples = build_samples(load_items(of.data, of.data_seed, warehouse), of)
    write_parquet(layout.samples, samples_table(samples))
    pool = samples.loc[samples["part"] == "pool", "sample_id"].to_numpy(dtype=np.int64)
    for seed in of.seeds:
        ids = pool[split_mask(len(pool), of.shadows.train_share, seed)]
        write_parquet(layout.split_mask(seed), pa.table({"sample_id": ids}))
    return layout


def item(warehouse: Path, of: Study, step: GpuStep, seeds: list[int], **other: Any) -> WorkItem:
    """A work item as the assets make it."""
    layout = Layout(warehouse, of.name)
    inputs = [layout.samples, *(layout.split_mask(seed) for seed in seeds)]
    given = {
        "study": of,
        "step": step,
        "seeds": seeds,
        "code_version": code_versions(of)[step],
        "source": source_version(),
        "inputs": {path.name: content_hash(path) for path in inputs if path.exists()},
        "warehouse": warehouse,
    }
    return WorkItem(**{**given, **other})
