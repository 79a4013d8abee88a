"""What the models of a work item answer at a checkpoint.

What belongs here: loading the weights, running the models forward, and the logit gaps of what they say. What does not:
the pass itself (`training.forward`), the files of a step (`forward_steps`).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memo_assets.compute.inputs import Checkpoint, load_checkpoint
from memo_assets.compute.items import WorkItem
from memo_assets.config import Study
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import epoch_folder
from memo_assets.training.forward import Forward, forward
from memo_assets.training.task import Task
from memo_assets.training.vision import VisionTask


def outputs_at(item: WorkItem, task: Task, point: Checkpoint) -> Forward:
    """Outputs of all models at a checkpoint. Adapters that are not trained yet are the base model, all of them."""
    if not item.study.is_language or point.folder != epoch_folder(0):
        load_checkpoint(item, task, point)
        return forward(task)
    base, n_models = _of_base_model(item, task), len(item.seeds)
    return Forward(base.option_logits.repeat(n_models, axis=0), base.loss.repeat(n_models, axis=0), None)


def _of_base_model(item: WorkItem, task: Task) -> Forward:
    """Outputs of the base model alone, from the file that the first item of a study to need them has left."""
    from memo_assets.training.language import LanguageTask

    assert isinstance(task, LanguageTask)
    path = item.layout.base_outputs(item.shared_key)
    if not is_whole(path):
        found = forward(task.untrained())
        logits = pa.FixedSizeListArray.from_arrays(
            pa.array(found.option_logits.ravel()), found.option_logits.shape[2]
        )
        write_parquet(path, pa.table({"loss": found.loss[0], "option_logits": logits}))
    table = pq.read_table(path)
    flat = table.column("option_logits").combine_chunks().flatten().to_numpy()
    return Forward(flat.reshape(1, table.num_rows, -1), table.column("loss").to_numpy()[None], None)


def gaps_of(option_logits: np.ndarray, given: np.ndarray) -> np.ndarray:
    """float32 [K, N], logit of the given label minus the largest of the others."""
    from memo_assets.measures.lira import logit_gap

    return logit_gap(option_logits, given).astype(np.float32)


def further_query_gaps(study: Study, task: Task, given: np.ndarray) -> np.ndarray | None:
    """float32 [A - 1, K, N], logit gaps of all models on the queries beside the images themselves; None without any."""
    if study.labels.queries is None:
        return None
    assert isinstance(task, VisionTask)
    return np.stack(
        [
            gaps_of(forward(task.queried(down, right, flipped=flipped)).option_logits, given)
            for down, right, flipped in study.labels.queries.offsets[1:]
        ]
    )


def is_whole(part: Path) -> bool:
    """Whether a part is there and can be read: a failing disk may have cut it off."""
    try:
        pq.read_metadata(part)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return True
