"""A study on disk as a run leaves it, without training: real samples and split masks, made-up weights and logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.numpy import save_file

from memo_assets.config import Study
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.data.splits import training_positions
from memo_assets.store.files import write_json, write_parquet
from memo_assets.store.layout import Layout
from memo_assets_tests.studies import DIGITS, study

_RNG = np.random.default_rng(0)


class Sound:
    """The files of a study; every writer puts what is right in its place, and what a test gives instead.

    Args:
        warehouse: the warehouse directory; a table of the study lies there too.
        base: settings of the study.
        changes: other values, at dotted paths.
    """

    def __init__(
        self, warehouse: Path, base: dict[str, Any] = DIGITS, changes: dict[str, Any] | None = None
    ) -> None:
        self.study: Study = study(base, changes)
        self.layout = Layout(warehouse, self.study.name)
        items = load_items(self.study.data, self.study.data_seed, warehouse)
        self.items = items.frame
        self.samples = build_samples(items, self.study)
        self.write_items()
        self.write_samples()
        for seed in self.study.seeds:
            self.write_mask(seed)

    @property
    def pool(self) -> np.ndarray:
        """Ids of the pool's samples."""
        return self.samples.loc[self.samples["part"] == "pool", "sample_id"].to_numpy()

    def mask(self, seed: int) -> np.ndarray:
        """Ids of a model's training samples."""
        of = self.study.shadows
        places = training_positions(len(self.pool), of.train_share, seed, membership=of.membership)
        return self.pool[places]

    def write_items(self, frame: pd.DataFrame | None = None) -> None:
        table = pa.Table.from_pandas(self.items if frame is None else frame, preserve_index=False)
        write_parquet(self.layout.items, table)

    def write_samples(self, frame: pd.DataFrame | None = None) -> None:
        write_parquet(self.layout.samples, samples_table(self.samples if frame is None else frame))

    def write_mask(self, seed: int, ids: np.ndarray | None = None) -> None:
        ids = self.mask(seed) if ids is None else ids
        write_parquet(self.layout.split_mask(seed), pa.table({"sample_id": pa.array(ids, pa.int64())}))

    def write_weights(self, seed: int, last: dict[str, np.ndarray] | None = None) -> None:
        """Two tensors at the first and the last checkpoint; by default one of them has changed."""
        first = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)}
        last = {**first, "b": np.full(4, 0.5, np.float32)} if last is None else last
        for place, tensors in ((0, first), (-1, last)):
            folder = self.layout.adapter(seed, self.study.training.checkpoints[place])
            folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, folder / "model.safetensors")

    def write_log(
        self, seed: int, losses: list[float | None] | None = None, *, trigger: float | None = None
    ) -> None:
        """A training log; mean losses by default 2, 1, 1/2, ... , and an entry of the model's own trigger."""
        epochs = self.study.training.checkpoints
        given = [None, *(2.0**-k for k in range(-1, len(epochs)))] if losses is None else losses
        entries = [
            {"epoch": epoch, "step": int(10 * epoch), "train_loss_mean": loss}
            for epoch, loss in zip(epochs, given, strict=False)
        ]
        if trigger is not None:
            entries.append(
                {"epoch": trigger, "step": int(10 * trigger), "train_loss_mean": 9.0, "is_trigger": True}
            )
        write_json(self.layout.training_log(seed), {"item": "x", "checkpoints": entries})

    def logits(self, seed: int, *, epochs: list[float] | None = None) -> pd.DataFrame:
        """Rows as a worker writes them: guesses at epoch 0, later right on all training samples."""
        n_options, given = self.samples["options"].map(len).max(), self.samples["given_index"].to_numpy()
        frames = []
        for epoch in self.study.training.checkpoints if epochs is None else epochs:
            logits = _RNG.normal(size=(len(self.samples), n_options)).astype(np.float32)
            if epoch:
                trained = self.samples["sample_id"].isin(self.mask(seed)).to_numpy()
                logits[trained, given[trained]] += 9
            own = logits[np.arange(len(given)), given]
            others = np.where(np.arange(n_options) == given[:, None], -np.inf, logits).max(axis=1)
            frame = pd.DataFrame(
                {
                    "split_seed": np.int32(seed),
                    "epoch": float(epoch),
                    "sample_id": self.samples["sample_id"],
                    "loss": np.log(np.exp(logits).sum(axis=1)) - own,
                    "logit_gap": own - others,
                    "option_logits": list(logits),
                }
            )
            if self.study.labels.queries is not None:
                n_queries = len(self.study.labels.queries.offsets)
                frame["query_gaps"] = list(np.tile(own - others, (n_queries, 1)).T)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def write_logits(self, seed: int, frame: pd.DataFrame | None = None) -> None:
        frame = self.logits(seed) if frame is None else frame
        lists = pa.list_(pa.float32())
        # Not `from_pandas`, which would make nulls of nan.
        columns = {
            name: pa.array(frame[name].tolist(), lists)
            if name in ("option_logits", "query_gaps")
            else frame[name]
            for name in frame
        }
        write_parquet(self.layout.logits(seed), pa.table(columns))


def write_tickets(warehouse: Path, n: int = 60) -> None:
    """A table for the study `TABLE`: texts about one of three places, the label."""
    places = ["Oslo", "Rome", "Lima"]
    rows = [{"text": f"letter {i} from {places[i % 3]}", "label": places[i % 3]} for i in range(n)]
    lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
    (warehouse / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def facts_are_plain(facts: dict[str, Any]) -> bool:
    """Whether Dagster can keep these facts: JSON without nan."""
    return json.loads(json.dumps(facts, allow_nan=False)) == facts
