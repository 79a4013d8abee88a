"""How a table of the warehouse is described, and the columns that several tables share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """One table. `key` is unique; it is a PRIMARY KEY in the database unless `bulk`.

    Bulk tables hold a row per model, epoch and sample. An index on them would cost more than the load, so
    their key is checked while loading (`store.load`).
    """

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    bulk: bool = False


STUDY = Column("study", "VARCHAR", "Name of the study.")
SEED = Column("split_seed", "INTEGER", "Split seed: number of the model within the study.")
TARGET = Column("target_seed", "INTEGER", "Split seed of the audited (target) model.")
EPOCH = Column("epoch", "DOUBLE", "Checkpoint, in passes over the model's training samples; 0 = untrained.")
SAMPLE = Column("sample_id", "BIGINT", "Position of the sample in the raw data set; stable.")
PREDICTOR = Column("predictor", "VARCHAR", "Name of the predictor, see the README.")
LAYER = Column("layer", "SMALLINT", "Layer 1..L of a per-layer predictor; 0 for predictors without a layer.")
