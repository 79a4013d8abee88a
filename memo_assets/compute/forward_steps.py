"""The steps that run the models of every checkpoint forward: logits and layer scores.

What belongs here: from a work item to the files of each seed. What does not: the forward pass (`training.forward`),
what becomes of hidden states (`scores`).

What a checkpoint gave is kept in the item's work folder as soon as it is there, one part per seed. An attempt computes
the checkpoints whose parts are missing and joins the parts of all; so the files are the same however often the work
was interrupted, and no more than one seed's rows are in memory.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from memo_assets.compute.inputs import (
    Checkpoint,
    checkpoints_of,
    load_checkpoint,
    make_task,
    read_samples,
    training_rows,
)
from memo_assets.compute.items import SeedResult, WorkItem, seeds_in_words
from memo_assets.compute.outputs import further_query_gaps, gaps_of, is_whole, outputs_at
from memo_assets.compute.reporting import OnProgress, Results, say
from memo_assets.compute.scores import layer_scores_at
from memo_assets.config import Study
from memo_assets.store.files import content_hash, write_parquet
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted, ShouldStop, never

_LOGITS = pa.schema(
    {
        "split_seed": pa.int32(),
        "epoch": pa.float64(),
        "sample_id": pa.int64(),
        "loss": pa.float32(),
        "logit_gap": pa.float32(),
        "option_logits": pa.list_(pa.field("item", pa.float32())),
    }
)
_QUERY_GAPS = pa.field("query_gaps", pa.list_(pa.field("item", pa.float32())))
_SCORES, _SUMMARY, _NORMS = "scores", "summary", "norms"


class _Checkpoints:
    """Counts the checkpoints done, tells of each, and interrupts after one if asked to."""

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        began: int,
        total: int,
        on_progress: OnProgress,
        should_stop: ShouldStop,
    ) -> None:
        self._seeds, self._began, self._done, self._total = seeds_in_words(seeds), began, began, total
        self._on_progress, self._should_stop = on_progress, should_stop
        if began:
            say(f"{self._seeds}: resumed with {began} of {total} checkpoints done")

    def one_done(self) -> None:
        """Count a checkpoint whose parts are written.

        Raises:
            Interrupted: there are others to do, and the step is to stop.
        """
        self._done += 1
        self._on_progress(self._done, self._total, "checkpoints")
        say(f"{self._seeds}: checkpoint {self._done} of {self._total} done")
        if self._done < self._total and self._should_stop():
            raise Interrupted(self._done, self._total, "checkpoints", began=self._began)


def logits(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Forward pass of every checkpoint of every seed over all samples, pool and test."""
    samples = read_samples(item)
    points = checkpoints_of(item)
    missing = [
        point for point in points if not all(is_whole(_part(item, seed, point)) for seed in point.epochs)
    ]
    checkpoints = _Checkpoints(
        item.seeds,
        began=len(points) - len(missing),
        total=len(points),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    if missing:
        _compute_logits(item, samples, missing, checkpoints)
    is_test = (samples["part"] == "test").to_numpy()
    results: Results = {}
    for seed in item.seeds:
        parts = [pq.read_table(_part(item, seed, point)) for point in _in_order(points, seed)]
        path = item.layout.logits(seed)
        write_parquet(path, pa.concat_tables(parts).cast(_schema(item.study)))
        gap = parts[-1].column("logit_gap").to_numpy()
        in_train = np.zeros(len(samples), dtype=bool)
        in_train[training_rows(item, samples, seed)] = True
        facts = {
            "train_accuracy": float((gap[in_train] > 0).mean()),
            "test_accuracy": float((gap[is_test] > 0).mean()),
            "rows": len(samples) * len(parts),
        }
        results[seed] = SeedResult(data_version=content_hash(path), facts=facts)
    return results


def layer_scores(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Hidden states of every checkpoint of the audited models, reduced to scores at once; norms of their weights."""
    samples = read_samples(item)
    points = checkpoints_of(item)
    missing = {
        seed: [
            point
            for point in _in_order(points, seed)
            if not all(is_whole(_part(item, seed, point, kind)) for kind in (_SCORES, _SUMMARY, _NORMS))
        ]
        for seed in item.seeds
    }
    total = sum(len(point.epochs) for point in points)
    checkpoints = _Checkpoints(
        item.seeds,
        began=total - sum(len(of_seed) for of_seed in missing.values()),
        total=total,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    results: Results = {}
    for seed in item.seeds:
        if missing[seed]:
            _compute_layer_scores(item, seed, samples, missing[seed], checkpoints)
        scores, summary, norms = (
            pd.concat(
                [
                    pq.read_table(_part(item, seed, point, kind)).to_pandas()
                    for point in _in_order(points, seed)
                ]
            )
            for kind in (_SCORES, _SUMMARY, _NORMS)
        )
        layout = item.layout
        paths = (layout.layer_scores(seed), layout.layer_summary(seed), layout.weight_norms(seed))
        for path, frame in zip(paths, (scores, summary, norms), strict=True):
            write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False))
        facts = {"layers": int(summary["layer"].max()), "samples": int(scores["sample_id"].nunique())}
        results[seed] = SeedResult(data_version=content_hash(*paths), facts=facts)
    return results


def _compute_logits(
    item: WorkItem, samples: pd.DataFrame, points: Sequence[Checkpoint], checkpoints: _Checkpoints
) -> None:
    """Write the parts of all seeds at some checkpoints."""
    task = make_task(item, samples)
    given = samples["given_index"].to_numpy()
    n_options = samples["options"].map(len).to_numpy()
    for point in points:
        outputs = outputs_at(item, task, point)
        gaps = gaps_of(outputs.option_logits, given)
        further = further_query_gaps(item.study, task, given)
        for k, seed in enumerate(item.seeds):
            if seed not in point.epochs:
                continue
            columns = {
                "split_seed": np.full(len(samples), seed),
                "epoch": np.full(len(samples), point.epochs[seed]),
                "sample_id": samples["sample_id"].to_numpy(),
                "loss": outputs.loss[k],
                "logit_gap": gaps[k],
                "option_logits": _ragged(outputs.option_logits[k], n_options),
            }
            if further is not None:
                queries = np.column_stack([gaps[k], *further[:, k]])
                columns["query_gaps"] = _ragged(queries, np.full(len(samples), queries.shape[1]))
            write_parquet(_part(item, seed, point), pa.table(columns, schema=_schema(item.study)))
        checkpoints.one_done()


def _compute_layer_scores(
    item: WorkItem, seed: int, samples: pd.DataFrame, points: Sequence[Checkpoint], checkpoints: _Checkpoints
) -> None:
    """Write the parts of one seed at some checkpoints."""
    one = item.model_copy(update={"seeds": [seed]})
    task = make_task(one, samples)
    rows = np.sort(training_rows(item, samples, seed))
    labels = samples["given_label"].to_numpy()[rows]
    for point in points:
        load_checkpoint(one, task, point)
        hidden = forward(task, rows, hidden=True).hidden
        assert hidden is not None
        scores, summary = layer_scores_at([layer[0] for layer in hidden], labels, item.study.scores)
        scores.insert(0, "sample_id", np.tile(samples["sample_id"].to_numpy()[rows], len(hidden)))
        norms = _weight_norms(item, seed, point.folder)
        for kind, frame in ((_SCORES, scores), (_SUMMARY, summary), (_NORMS, norms)):
            frame.insert(0, "epoch", float(point.epochs[seed]))
            write_parquet(_part(item, seed, point, kind), pa.Table.from_pandas(frame, preserve_index=False))
        checkpoints.one_done()


def _weight_norms(item: WorkItem, seed: int, folder: str) -> pd.DataFrame:
    """Norms of a model's trained weights, read from its files."""
    from safetensors.numpy import load_file

    from memo_assets.measures.weight_norms import weight_norms

    lora = item.study.lora
    now, start = (
        {
            name: weight
            for file in sorted(at.glob("*.safetensors"))
            for name, weight in load_file(file).items()
        }
        for at in (
            item.layout.adapters(seed) / folder,
            item.layout.adapter(seed, item.study.training.checkpoints[0]),
        )
    )
    return pd.DataFrame(weight_norms(now, start, scale=1.0 if lora is None else lora.alpha / lora.rank))


def _in_order(points: Sequence[Checkpoint], seed: int) -> list[Checkpoint]:
    """The checkpoints that a model has, by epoch."""
    return sorted((point for point in points if seed in point.epochs), key=lambda point: point.epochs[seed])


def _part(item: WorkItem, seed: int, point: Checkpoint, kind: str = "logits") -> Path:
    """File of what one checkpoint of one seed gave. The work folder's name says that it is of this very item."""
    return item.folder / "state" / point.folder / f"seed={seed}.{kind}.parquet"


def _schema(study: Study) -> pa.Schema:
    return _LOGITS if study.labels.queries is None else _LOGITS.append(_QUERY_GAPS)


def _ragged(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """List array of the first `lengths[i]` values of every row."""
    keep = np.arange(values.shape[1]) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[keep].astype(np.float32)))
