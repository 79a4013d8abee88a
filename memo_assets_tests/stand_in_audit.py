"""The file that a study's audit leaves, from one real training run: for tests of what reads it.

The step `audit` itself takes the place of this where a study has it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import softmax

from memo_assets.compute.inputs import make_task, read_samples
from memo_assets.compute.items import WorkItem
from memo_assets.config import Study
from memo_assets.measures.label_errors import suspected_labels
from memo_assets.measures.psmi import psmi
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets.training.forward import forward
from memo_assets.training.loop import CheckpointStats, train


def write_audit(warehouse: Path, of: Study, *, folder: Path, directions: int = 100) -> pd.DataFrame:
    """Train one model on the whole pool; PSMI of the last layer at a third of the epochs, and the labels it suspects.

    Args:
        warehouse: with the study's samples, and its base model if it is a language study.
        of: the study.
        folder: for the state of the training run.
        directions: of PSMI.

    Returns:
        What was written: sample_id, flagged, psmi, suspected_index of every pool sample.
    """
    work = WorkItem(
        study=of, step="adapters", seeds=[0], code_version="", source="", inputs={}, warehouse=warehouse
    )
    samples = read_samples(work)
    pool = np.flatnonzero((samples["part"] == "pool").to_numpy())
    epochs = max(1, of.training.epochs // 3)
    recipe = of.training.model_copy(update={"epochs": epochs, "checkpoints": [0.0, float(epochs)]})
    task, outputs = make_task(work, samples), []

    def on_checkpoint(_epoch: float, _step: int, _stats: CheckpointStats) -> None:
        outputs.append(forward(task, pool, hidden="last"))

    train(task, pool[None], recipe, state_path=folder / "state", on_checkpoint=on_checkpoint)
    given = samples.iloc[pool]
    index = given["given_index"].to_numpy().astype(np.int64)
    hidden = outputs[-1].hidden
    assert hidden is not None
    score = psmi(hidden[0][0], given["given_label"].to_numpy(), n_directions=directions).mean
    frame = pd.DataFrame(
        {
            "sample_id": given["sample_id"].to_numpy().astype(np.int64),
            "flagged": score < 0,
            "psmi": score,
            "suspected_index": suspected_labels(softmax(outputs[-1].option_logits[0], axis=1), index),
        }
    )
    write_parquet(Layout(warehouse, of.name).audit_scores, pa.Table.from_pandas(frame, preserve_index=False))
    return frame
