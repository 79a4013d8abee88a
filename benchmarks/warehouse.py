"""The warehouse at the size of a large study: loading it, log-LiRA in SQL, scores into a figure.

    python -m benchmarks.warehouse [--rounds 3]

100 models, 30,000 samples, 8 checkpoints: 24 million rows of made-up logits in a temporary folder. Loading goes through
`publish` and `load_block`, as the asset does, and is timed beside CREATE TABLE AS from the same Parquet files into an
empty database. Log-LiRA of all checkpoints is timed beside one scan of the columns that it reads. Scores of 15,000 samples,
11 layers, 3 predictors and 6 epochs are read for a figure beside a wide CSV file read into dictionaries.
"""

import csv
import os
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.harness import Row, compared, in_turn, peak_megabytes, rounds_asked, write
from memo_assets.store.files import write_json, write_parquet
from memo_assets.store.layout import WAREHOUSE_VARIABLE, Layout, database_path
from memo_assets.store.load import load_block, load_parquet
from memo_assets.store.tables import publish, reading

STUDY, MODELS, SAMPLES, EPOCHS, OPTIONS, BLOCK = "bench", 100, 30_000, tuple(map(float, range(8))), 4, 25
TRAINED, LAYERS, PREDICTORS, SCORED_EPOCHS = 15_000, 11, 3, 6
FEW_SAMPLES = 500  # of the wide CSV


def write_files(layout: Layout) -> None:
    """Files of all models, as workers leave them."""
    places = len(EPOCHS) * SAMPLES
    for seed in range(MODELS):
        rng = np.random.default_rng(seed)
        inside = np.sort(rng.permutation(SAMPLES)[: SAMPLES // 2])
        gaps = rng.normal(size=(len(EPOCHS), SAMPLES)).astype(np.float32)
        gaps[:, inside] += np.linspace(0, 3, len(EPOCHS), dtype=np.float32)[:, None]
        options = rng.normal(size=places * OPTIONS).astype(np.float32)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(options), OPTIONS).cast(pa.list_(pa.float32()))
        columns = {
            "split_seed": np.full(places, seed, np.int32),
            "epoch": np.repeat(EPOCHS, SAMPLES),
            "sample_id": np.tile(np.arange(SAMPLES), len(EPOCHS)),
            "loss": np.log1p(np.exp(-gaps)).ravel(),
            "logit_gap": gaps.ravel(),
            "option_logits": lists,
        }
        write_parquet(layout.logits(seed), pa.table(columns))
        write_parquet(layout.split_mask(seed), pa.table({"sample_id": inside}))
        entry = {"step": 0, "train_loss_mean": None, "train_loss_median": None, "learning_rate": 0.0}
        write_json(
            layout.training_log(seed), {"checkpoints": [{"epoch": epoch, **entry} for epoch in EPOCHS]}
        )


def loading(rounds: int, layout: Layout, folder: Path) -> Row:
    """All blocks in one load, as a run over all partitions does, beside a bare copy of the rows."""
    plain = folder / "plain.duckdb"
    files = [str(layout.logits(seed)) for seed in range(MODELS)]

    def ours() -> None:
        database_path().unlink(missing_ok=True)
        with publish() as connection:
            for start in range(0, MODELS, BLOCK):
                load_block(connection, layout, list(range(start, start + BLOCK)))

    def bare() -> None:
        plain.unlink(missing_ok=True)
        with duckdb.connect(plain) as connection:
            connection.execute(
                "CREATE TABLE logits AS SELECT ? AS study, * FROM read_parquet(?, hive_partitioning = false)",
                [STUDY, files],
            )

    row = Row(
        "load into the warehouse",
        f"{MODELS} models x {SAMPLES} samples x {len(EPOCHS)} checkpoints",
        "CREATE TABLE AS from the same Parquet (times its time)",
        target=1.5,
        at_least=False,
        note="split masks, checkpoints, the check of keys and the publication by rename included",
        **compared(in_turn({"ours": ours, "bare": bare}, rounds), "ours", "bare", faster=False),
    )
    plain.unlink()
    return row


def labels(rounds: int) -> list[Row]:
    """Log-LiRA of one target at all checkpoints, in SQL."""
    scan = "SELECT max(split_seed), max(epoch), max(sample_id), sum(logit_gap) FROM logits WHERE study = ?"
    mean = """
        SELECT count(*), sum(mean)
        FROM (SELECT epoch, sample_id, avg(logit_gap) AS mean FROM logits WHERE study = ? GROUP BY epoch, sample_id)
    """
    lira = "SELECT count(*), sum(log_lira) FROM log_lira_of(?, 0)"

    def asked(query: str) -> None:
        with reading() as connection:
            connection.execute(query, [STUDY]).fetchall()

    taken = in_turn(
        {"ours": lambda: asked(lira), "scan": lambda: asked(scan), "mean": lambda: asked(mean)}, rounds
    )
    found = compared(taken, "ours", "scan", faster=False)
    size = f"{MODELS * SAMPLES * len(EPOCHS) / 1e6:g} M rows, {len(EPOCHS)} checkpoints"
    return [
        Row(
            "log-LiRA in SQL",
            size,
            "one scan of the same columns (times its time)",
            target=4,
            at_least=False,
            **found,
        ),
        Row(
            "a mean by sample and checkpoint in SQL",
            size,
            "one scan of the same columns (times its time)",
            **compared(taken, "mean", "scan", faster=False),
        ),
        Row(
            "log-LiRA in SQL: seconds", size, "the clock", found["seconds"]["ours"], target=10, at_least=False
        ),
        Row("log-LiRA in SQL: peak memory", size, "before (MB)", peak_megabytes(lambda: asked(lira))),
        Row(
            "warehouse file: bytes a row of logits",
            size,
            "the file's size",
            database_path().stat().st_size / (MODELS * SAMPLES * len(EPOCHS)),
            note=f"{OPTIONS} option logits, split masks in the file too",
        ),
    ]


def scores_into_a_figure(rounds: int, layout: Layout, folder: Path) -> list[Row]:
    """What a figure reads of one layer and predictor at one epoch; on the figure's connection, and on a new one."""
    rng = np.random.default_rng(0)
    n = SCORED_EPOCHS * PREDICTORS * LAYERS * TRAINED
    places = np.indices((SCORED_EPOCHS, PREDICTORS, LAYERS, TRAINED)).reshape(4, -1)
    names = np.array(["mahalanobis", "psmi", "psmi_sd"])
    scores = pa.table(
        {
            "target_seed": np.zeros(n, np.int32),
            "epoch": places[0].astype(np.float64),
            "predictor": names[places[1]],
            "layer": (places[2] + 1).astype(np.int16),
            "sample_id": places[3],
            "score": rng.normal(size=n),
        }
    )
    path = layout.table("predictor_scores")
    write_parquet(path, scores)
    with publish() as connection:
        load_parquet(connection, "predictor_scores", path, where={"study": STUDY})
    wide = folder / "wide.csv"
    header = [
        f"{p}_{layer}_{epoch}" for epoch in range(SCORED_EPOCHS) for p in names for layer in range(LAYERS)
    ]
    with wide.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample_id", *header])
        writer.writerows([[sample, *rng.normal(size=len(header))] for sample in range(FEW_SAMPLES)])
    query = """
        SELECT epoch, layer, sample_id, score FROM predictor_scores
        WHERE study = ? AND target_seed = 0 AND predictor = 'psmi' AND epoch = 3 AND layer = 11
    """

    def on(connection: duckdb.DuckDBPyConnection) -> np.ndarray:
        return np.asarray(connection.execute(query, [STUDY]).fetchnumpy()["score"])

    def opened() -> np.ndarray:
        with reading() as connection:
            return on(connection)

    def by_csv() -> list[float]:
        with wide.open(newline="") as stream:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        return [row["psmi_10_3"] for row in rows]

    assert len(opened()) == TRAINED
    assert len(by_csv()) == FEW_SAMPLES
    with reading() as connection:
        taken = in_turn({"ours": lambda: on(connection), "csv": by_csv}, rounds)
    new = in_turn(
        {"ours": opened, "csv": by_csv, "nothing": lambda: duckdb.connect(":memory:").close()}, rounds
    )
    size = f"{TRAINED} samples x {LAYERS} layers x {PREDICTORS} predictors x {SCORED_EPOCHS} epochs"
    note = f"{FEW_SAMPLES} lines of the CSV timed, times {TRAINED // FEW_SAMPLES}; one layer of one predictor at one epoch"
    scale = TRAINED / FEW_SAMPLES
    return [
        Row(
            "scores of one study into a figure",
            size,
            "wide CSV read into dictionaries",
            target=500,
            note=note,
            **compared(taken, "ours", "csv", scale=scale),
        ),
        Row(
            "scores of one study into a figure, the warehouse opened for them",
            size,
            "wide CSV read into dictionaries",
            note=note,
            **compared(new, "ours", "csv", scale=scale),
        ),
        Row(
            "scores of one study into a figure, the warehouse opened for them",
            size,
            "an empty database in memory, opened by DuckDB and closed (times its time)",
            at_least=False,
            **compared(new, "ours", "nothing", faster=False),
        ),
    ]


def main() -> None:
    """All rows."""
    rounds = rounds_asked(__doc__, 3)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        os.environ[WAREHOUSE_VARIABLE] = str(folder / "warehouse")
        layout = Layout(folder / "warehouse", STUDY)
        write_files(layout)
        rows = [
            loading(rounds, layout, folder),
            *labels(rounds),
            *scores_into_a_figure(rounds, layout, folder),
        ]
        write("warehouse", rows)


if __name__ == "__main__":
    main()
