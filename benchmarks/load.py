"""A study of very many models, from the workers' files to a figure: seconds and peak memory of every step.

    python -m benchmarks.load [--seeds 100 300 1000] [--samples 10000] [--epochs 10] [--out FILE]

Made-up logits are written as workers leave them, in a warehouse in a temporary folder (TMPDIR says where). Then every step
runs as its asset does, in a process of its own: load into the warehouse, labels, their stability, population, predictors,
evaluation, one figure. A process tells its seconds without imports, and the kernel's high-water mark of its resident memory;
`psutil` watches from outside what all processes of the step hold together. Sizes come one after another, each in a warehouse
of its own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

from benchmarks.harness import RESULTS, machine
from memo_assets.analysis.frames import Subject
from memo_assets.compute.memory import peak_memory_bytes
from memo_assets.config import Study
from memo_assets.data.items import Items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.store.files import read_json, write_bytes, write_json, write_parquet
from memo_assets.store.layout import WAREHOUSE_VARIABLE, Layout, database_path, warehouse_dir
from memo_assets.store.load import load_block, load_parquet, load_samples
from memo_assets.store.tables import MATRICES_MEMORY, ROW_GROUPS_MEMORY, publish, reading

OPTIONS, LAYERS, BLOCK = ["a", "b", "c", "d"], 2, 25


def study_of(seeds: int, epochs: int) -> Study:
    """Settings of a study of so many models, with a checkpoint after every epoch and before the first."""
    return Study.model_validate(
        {
            "name": "load",
            "title": "Many models",
            "data": {"source": "table", "path": "rows.csv", "text": "text", "label": "label"},
            "prompt": {"templates": ["{text}?"]},
            "model": {"kind": "pretrained", "name": "some/model"},
            "lora": {"rank": 2, "alpha": 4.0},
            "training": {
                "learning_rate": 0.01,
                "batch_size": 8,
                "epochs": epochs - 1,
                "checkpoints": list(range(epochs)),
            },
            "shadows": {"models": seeds, "block": BLOCK},
        }
    )


def write_files(study: Study, layout: Layout, n: int) -> None:
    """Samples, and the files of all models, as assets and workers leave them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "item_id": [str(i) for i in range(n)],
            "text": [f"text {i}" for i in range(n)],
            "options": [OPTIONS] * n,
            "label": np.asarray(OPTIONS)[rng.integers(len(OPTIONS), size=n)],
        }
    )
    samples = build_samples(Items(frame, None), study)
    write_parquet(layout.samples, samples_table(samples))
    pool = samples["sample_id"].to_numpy()[samples["part"] == "pool"]
    for seed in study.seeds:
        write_model(study, layout, samples["given_index"].to_numpy(), pool, seed)
    inside = np.sort(_members(pool, study.shadows.audited[0]))
    epochs = np.repeat(np.asarray(study.training.checkpoints, float), LAYERS * len(inside))
    layers = np.tile(np.repeat(np.arange(1, LAYERS + 1, dtype=np.int16), len(inside)), len(set(epochs)))
    scores = {"epoch": epochs, "layer": layers, "sample_id": np.tile(inside, len(epochs) // len(inside))}
    names = [name for name, kind in PREDICTORS.items() if kind.per_layer and name != "psmi_slope"]
    scores |= {name: rng.normal(size=len(epochs)) for name in names}
    write_parquet(layout.layer_scores(study.shadows.audited[0]), pa.table(scores))


def write_model(study: Study, layout: Layout, given: np.ndarray, pool: np.ndarray, seed: int) -> None:
    """Files of one model, whose logit of the given label rises with training, more so on its own samples."""
    epochs, n = np.asarray(study.training.checkpoints, float), len(given)
    rng = np.random.default_rng([1, seed])
    inside = _members(pool, seed)
    logits = rng.normal(size=(len(epochs), n, len(OPTIONS))).astype(np.float32)
    rise = np.full(n, 3.0, np.float32)
    rise[inside] += 3
    logits[:, np.arange(n), given] += np.linspace(0, 1, len(epochs), dtype=np.float32)[:, None] * rise
    own = logits[:, np.arange(n), given]
    others = logits.copy()
    others[:, np.arange(n), given] = -np.inf
    flat = pa.array(logits.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, len(OPTIONS)).cast(pa.list_(pa.float32()))
    columns = {
        "split_seed": np.full(own.size, seed, np.int32),
        "epoch": np.repeat(epochs, n),
        "sample_id": np.tile(np.arange(n), len(epochs)),
        "loss": (np.log(np.exp(logits).sum(axis=2)) - own).ravel(),
        "logit_gap": (own - others.max(axis=2)).ravel(),
        "option_logits": lists,
    }
    write_parquet(layout.logits(seed), pa.table(columns))
    write_parquet(layout.split_mask(seed), pa.table({"sample_id": inside}))
    entry = {"step": 0, "train_loss_mean": None, "train_loss_median": None, "learning_rate": 0.0}
    write_json(layout.training_log(seed), {"checkpoints": [{"epoch": epoch, **entry} for epoch in epochs]})


def load(study: Study, layout: Layout) -> None:
    """Samples, then all blocks in one load, as a run over all partitions does."""
    with publish() as connection:
        load_samples(connection, layout)
    with publish(memory=ROW_GROUPS_MEMORY) as connection:
        for start in range(0, study.shadows.models, BLOCK):
            load_block(connection, layout, list(study.seeds[start : start + BLOCK]))


def labels(study: Study, layout: Layout) -> None:
    """Scores of all attacks on the audited model at all checkpoints."""
    from memo_assets.analysis.labels import memorization

    with reading(memory=MATRICES_MEMORY) as connection:
        frame, scores = memorization(connection, study)
    _put(layout, {"memorization": frame, "memorization_scores": scores})


def stability(study: Study, layout: Layout) -> None:
    """How labels settle with more models."""
    from memo_assets.analysis.stability import label_stability

    with reading(memory=MATRICES_MEMORY) as connection:
        frame = label_stability(connection, study)
    _put(layout, {"label_stability": frame})


def population(study: Study, layout: Layout) -> None:
    """Measures over all models."""
    from memo_assets.analysis.labels import population_memorization

    with reading(memory=MATRICES_MEMORY) as connection:
        frame = population_memorization(connection, study)
    _put(layout, {"population_memorization": frame})


def predictors(study: Study, layout: Layout) -> None:
    """Scores of the audited model alone."""
    from memo_assets.analysis.predictors import predictor_scores

    (target,) = study.shadows.audited
    with reading() as connection:
        frame = predictor_scores(connection, study, target, layout.layer_scores(target))
    _put(layout, {"predictor_scores": frame.assign(target_seed=target)})


def evaluation(study: Study, layout: Layout) -> None:
    """Predictors judged by labels."""
    from memo_assets.analysis.evaluation import predictor_evaluation

    (target,) = study.shadows.audited
    with reading() as connection:
        frame = predictor_evaluation(connection, study, target)
    _put(layout, {"predictor_evaluation": frame.assign(target_seed=target)})


def figure(study: Study, layout: Layout) -> None:
    """ROC curves as a page."""
    from memo_assets.figures.render import figure_html
    from memo_assets.study_drawings import draw_roc

    with reading() as connection:
        page = figure_html(draw_roc(Subject(connection, study, study.shadows.audited[0])))
    write_bytes(layout.figure("figure_roc", "html"), page)


STEPS: dict[str, Callable[[Study, Layout], None]] = {
    "load": load,
    "labels": labels,
    "stability": stability,
    "population": population,
    "predictors": predictors,
    "evaluation": evaluation,
    "figure": figure,
}


def measured(name: str, seeds: int, samples: int, epochs: int) -> dict[str, float]:
    """Seconds and peak megabytes of one step, run in a process of its own.

    Raises:
        RuntimeError: the step failed; its traceback was printed.
    """
    command = [sys.executable, "-m", "benchmarks.load", "--step", name]
    sizes = ["--seeds", str(seeds), "--samples", str(samples), "--epochs", str(epochs)]
    process = subprocess.Popen([*command, *sizes], stdout=subprocess.PIPE, text=True)
    watched, seen = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            seen = max(seen, sum(p.memory_info().rss for p in [watched, *watched.children(recursive=True)]))
        except psutil.Error:
            break
        time.sleep(0.05)
    answer, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"step {name} of {seeds} seeds ended with code {process.returncode}")
    found = json.loads(answer.splitlines()[-1])
    return {**found, "watched_mb": round(seen / 1e6)}


def size(seeds: int, samples: int, epochs: int) -> dict[str, Any]:
    """All steps at one number of seeds, in a warehouse that is removed afterwards."""
    folder = tempfile.mkdtemp(prefix="memo_load_")
    os.environ[WAREHOUSE_VARIABLE] = folder
    try:
        steps = {}
        for name in ("write", *STEPS):
            steps[name] = measured(name, seeds, samples, epochs)
            told = steps[name]
            print(
                f"{seeds} seeds, {name}: {told['seconds']:.1f} s, peak {told['peak_mb']:.0f} MB", flush=True
            )
        layout = Layout(Path(folder), "load")
        with reading() as connection:
            row = connection.execute("SELECT count(*) FROM logits").fetchone()
        assert row is not None
        return {
            "seeds": seeds,
            "samples": samples,
            "epochs": epochs,
            "rows_of_logits": row[0],
            "parquet_mb": round(sum(f.stat().st_size for f in layout.root.rglob("*.parquet")) / 1e6),
            "database_mb": round(database_path().stat().st_size / 1e6),
            "steps": steps,
        }
    finally:
        shutil.rmtree(folder)


def run_step(name: str, seeds: int, samples: int, epochs: int) -> None:
    """One step in this process; prints what it took as JSON."""
    study, layout = study_of(seeds, epochs), Layout(warehouse_dir(), "load")
    began = time.perf_counter()
    if name == "write":
        write_files(study, layout, samples)
    else:
        STEPS[name](study, layout)
    seconds = round(time.perf_counter() - began, 2)
    print(json.dumps({"seconds": seconds, "peak_mb": round(peak_memory_bytes() / 1e6)}))


def main() -> None:
    """All sizes; the file of results grows with each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "load.json")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        run_step(given.step, given.seeds[0], given.samples, given.epochs)
        return
    given.out.unlink(missing_ok=True)
    for seeds in given.seeds:
        there = read_json(given.out)["sizes"] if given.out.is_file() else []
        write_json(
            given.out, {"machine": machine(), "sizes": [*there, size(seeds, given.samples, given.epochs)]}
        )


def _members(pool: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng([2, seed]).permutation(pool)[: len(pool) // 2]


def _put(layout: Layout, frames: dict[str, pd.DataFrame]) -> None:
    """Rows of tables into Parquet and the warehouse, as `assets.warehouse.publish_tables` does."""
    for table, frame in frames.items():
        write_parquet(layout.table(table), pa.Table.from_pandas(frame, preserve_index=False))
    with publish() as connection:
        for table in frames:
            load_parquet(connection, table, layout.table(table), where={"study": layout.study})


if __name__ == "__main__":
    main()
