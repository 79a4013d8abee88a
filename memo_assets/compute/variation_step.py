"""The step that asks audited models their training questions anew, with the right option's text replaced.

What belongs here: from a work item to the file of each seed. What does not: how a question is varied
(`data.answer_variation`), the forward pass (`training.forward`).

What one model gave is kept in the item's work folder, so an attempt that was interrupted goes on with the next model.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from memo_assets.compute.inputs import Checkpoint, load_checkpoint, make_task, read_samples, training_rows
from memo_assets.compute.items import SeedResult, WorkItem, seeds_in_words
from memo_assets.compute.outputs import gaps_of, is_whole
from memo_assets.compute.reporting import OnProgress, Results, say
from memo_assets.data.answer_variation import (
    OTHER_SPEAKS_OF_OTHERS,
    RIGHT_SPEAKS_OF_OTHERS,
    VariedQuestions,
    vary_questions,
)
from memo_assets.store.files import content_hash, write_parquet
from memo_assets.store.layout import epoch_folder
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted, ShouldStop, never

_SCHEMA = pa.schema(
    {
        "sample_id": pa.int64(),
        "outcome": pa.string(),
        "gap": pa.float32(),
        "varied_gap": pa.float32(),
        "is_right": pa.bool_(),
        "varied_is_right": pa.bool_(),
    }
)


def answer_variation(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Gaps of the last checkpoint of every seed on its training questions, as they were and varied."""
    samples, study = read_samples(item), item.study
    assert study.prompt is not None
    choices = pq.read_table(item.layout.items, columns=["choices"]).column("choices").to_pylist()
    varied = vary_questions(samples, choices, study.prompt, study.data_seed)
    parts = {seed: item.folder / "state" / f"seed={seed}.variation.parquet" for seed in item.seeds}
    missing = [seed for seed in item.seeds if not is_whole(parts[seed])]
    began, total = len(item.seeds) - len(missing), len(item.seeds)
    if began:
        say(f"{seeds_in_words(item.seeds)}: resumed with {began} of {total} models done")
    for done, seed in enumerate(missing, start=began + 1):
        _compute(item, seed, samples, varied, parts[seed])
        on_progress(done, total, "models")
        say(f"{seeds_in_words([seed])}: asked, model {done} of {total}")
        if done < total and should_stop():
            raise Interrupted(done, total, "models", began=began)
    results: Results = {}
    for seed in item.seeds:
        table, path = pq.read_table(parts[seed]), item.layout.answer_variation(seed)
        write_parquet(path, table)
        rows = table.to_pandas()
        outcomes = rows["outcome"].value_counts()
        asked = rows[rows["varied_gap"].notna()]
        facts = {
            "varied": len(asked),
            "left_out_right_option": int(outcomes.get(RIGHT_SPEAKS_OF_OTHERS, 0)),
            "left_out_other_option": int(outcomes.get(OTHER_SPEAKS_OF_OTHERS, 0)),
        }
        if len(asked):
            facts |= {
                "accuracy": float(asked["is_right"].mean()),
                "varied_accuracy": float(asked["varied_is_right"].astype(bool).mean()),
            }
        results[seed] = SeedResult(data_version=content_hash(path), facts=facts)
    return results


def _compute(item: WorkItem, seed: int, samples: pd.DataFrame, varied: VariedQuestions, path: Path) -> None:
    """Write what one model answers: all its questions as they are, then those that could be varied, by one model."""
    one = item.model_copy(update={"seeds": [seed]})
    rows = np.sort(training_rows(item, samples, seed))
    asked = varied.is_varied[rows]
    before = samples.iloc[rows]
    after = before[asked].assign(prompt=[varied.prompts[row] for row in rows[asked]])
    both = pd.concat([before, after], ignore_index=True)
    task = make_task(one, both)
    epoch = item.study.training.checkpoints[-1]
    load_checkpoint(one, task, Checkpoint(epoch_folder(epoch), {seed: epoch}))
    gaps = gaps_of(forward(task).option_logits, both["true_index"].to_numpy())[0]
    gap, varied_gap = gaps[: len(rows)], np.full(len(rows), np.nan, dtype=np.float32)
    varied_gap[asked] = gaps[len(rows) :]
    columns = {
        "sample_id": before["sample_id"].to_numpy(),
        "outcome": varied.outcome[rows],
        "gap": gap,
        "varied_gap": pa.array(varied_gap, mask=~asked),
        "is_right": gap > 0,
        "varied_is_right": pa.array(varied_gap > 0, mask=~asked),
    }
    write_parquet(path, pa.table(columns, schema=_SCHEMA))
