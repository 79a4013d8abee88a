"""A small study in the warehouse, written by hand: 3 pool samples, 1 test sample, 2 models, 2 checkpoints."""

from pathlib import Path

import pyarrow as pa

from memo_assets.store.files import write_json, write_parquet
from memo_assets.store.layout import Layout

EPOCHS = [0.0, 1.0]
MASKS = {0: [2, 0], 1: [1, 2]}
TEXT = pa.string()
SAMPLES = pa.schema(
    [
        ("sample_id", pa.int64()),
        *[(name, TEXT) for name in ("item_id", "part", "label_status", "true_label", "given_label")],
        ("true_index", pa.int16()),
        ("given_index", pa.int16()),
        ("options", pa.list_(TEXT)),
        ("content_hash", TEXT),
    ]
)
# Two options each, but for sample 2, which has three; the label of sample 0 is noise.
OPTIONS = [["a", "b"], ["a", "b"], ["a", "b", "c"], ["a", "b"]]
TRUE, GIVEN = [0, 1, 2, 0], [1, 1, 2, 0]


def loss(seed: int, epoch: float, sample: int) -> float:
    """A loss that tells where it belongs: 100 x seed + 10 x epoch + sample, plus a half."""
    return 100 * seed + 10 * epoch + sample + 0.5


def option_logits(seed: int, epoch: float, sample: int) -> list[float]:
    """At epoch 0 the first option leads, later the given one."""
    leader = 0 if epoch == 0 else GIVEN[sample]
    return [float(seed + (2 if option == leader else 0)) for option in range(len(OPTIONS[sample]))]


def gap(seed: int, epoch: float, sample: int) -> float:
    """2 where the given option leads, else -2."""
    return 2.0 if epoch > 0 or GIVEN[sample] == 0 else -2.0


def write_samples(layout: Layout) -> Path:
    """Write samples.parquet."""
    rows = [
        {
            "sample_id": row,
            "item_id": f"i{row}",
            "part": "test" if row == 3 else "pool",
            "label_status": "random" if row == 0 else "true",
            "true_label": OPTIONS[row][TRUE[row]],
            "given_label": OPTIONS[row][GIVEN[row]],
            "true_index": TRUE[row],
            "given_index": GIVEN[row],
            "options": OPTIONS[row],
            "content_hash": f"h{row}",
        }
        for row in range(4)
    ]
    write_parquet(layout.samples, pa.Table.from_pylist(rows, SAMPLES))
    return layout.samples


def write_logits(
    layout: Layout, seed: int, *, leave_out: tuple[float, int] | None = None, add: float = 0
) -> None:
    """Write one model's logits; may leave out a row (epoch, sample) and add to all losses."""
    places = [(epoch, sample) for epoch in EPOCHS for sample in range(4) if (epoch, sample) != leave_out]
    table = pa.table(
        {
            "split_seed": pa.array([seed] * len(places), pa.int32()),
            "epoch": pa.array([epoch for epoch, _ in places], pa.float64()),
            "sample_id": pa.array([sample for _, sample in places], pa.int64()),
            "loss": pa.array([loss(seed, *place) + add for place in places], pa.float32()),
            "logit_gap": pa.array([gap(seed, *place) for place in places], pa.float32()),
            "option_logits": pa.array(
                [option_logits(seed, *place) for place in places], pa.list_(pa.float32())
            ),
        }
    )
    write_parquet(layout.logits(seed), table)


def write_seed(layout: Layout, seed: int) -> None:
    """Write one model's split mask, training log and logits."""
    write_parquet(layout.split_mask(seed), pa.table({"sample_id": pa.array(MASKS[seed], pa.int64())}))
    entries = [
        {
            "epoch": epoch,
            "step": int(3 * epoch),
            "train_loss_mean": None if epoch == 0 else 1.5 + seed,
            "train_loss_median": None if epoch == 0 else 1.25 + seed,
            "learning_rate": 0.01 * epoch,
        }
        for epoch in EPOCHS
    ]
    write_json(layout.training_log(seed), {"item": "x", "checkpoints": entries})
    write_logits(layout, seed)


def write_study(layout: Layout) -> None:
    """Write all files of the study."""
    write_samples(layout)
    for seed in MASKS:
        write_seed(layout, seed)
