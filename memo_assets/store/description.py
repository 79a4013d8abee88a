"""How a table or view of the warehouse is described, and the columns that several of them share.

What belongs here: the sentences that go into the database as comments are put together here, in one form, which
`schema_page` reads back. What does not: the tables themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: what it says in a sentence, and its unit, if it has one.

    `of_run` marks what the same work gives anew in every run: which run it was, and when.
    """

    name: str
    type: str
    comment: str
    unit: str = ""
    of_run: bool = False

    @property
    def text(self) -> str:
        """The comment in the database."""
        return f"{self.comment} Unit: {self.unit}." if self.unit else self.comment


@dataclass(frozen=True)
class Table:
    """One table. `key` is unique; it is a PRIMARY KEY in the database if `indexed`.

    Without an index the key is checked while loading (`rows.replace_rows`): tables with a row per model, epoch and
    sample, where an index would cost more than the load, and a key that may hold a null. `asset` is the one whose runs
    fill the table, "" if several do.
    """

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    asset: str = ""
    indexed: bool = True

    @property
    def text(self) -> str:
        """The comment in the database."""
        asset = f" Asset: {self.asset}." if self.asset else ""
        return f"{self.comment}{asset} {_of_key(self.key)}"

    @property
    def lasting(self) -> str:
        """Names of the columns that the same work gives again in another run, as SQL."""
        return ", ".join(column.name for column in self.columns if not column.of_run)


@dataclass(frozen=True)
class View:
    """One view: its SQL, and what a table has; no two rows share a `key`."""

    query: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def text(self) -> str:
        """The comment in the database."""
        return f"{self.comment} {_of_key(self.key)}"


def _of_key(key: tuple[str, ...]) -> str:
    return f"Key: ({', '.join(key)})."


NATS = "nats"
SHARE = "share, 0 to 1"
STUDY = Column("study", "VARCHAR", "Name of the study.")
SEED = Column("split_seed", "INTEGER", "Split seed: number of the model within the study.")
TARGET = Column("target_seed", "INTEGER", "Split seed of the audited (target) model.")
EPOCH = Column("epoch", "DOUBLE", "Checkpoint; 0 = untrained.", "passes over the model's training samples")
SAMPLE = Column("sample_id", "BIGINT", "Position of the sample in the raw data set; stable.")
PREDICTOR = Column("predictor", "VARCHAR", "Name of the predictor; the README has a table of them.")
LAYER = Column("layer", "SMALLINT", "Layer 1..L of a per-layer predictor; 0 for predictors without a layer.")
LOSS = "Cross-entropy of the given label, over all that the model can answer: its vocabulary, or the labels of images."
