"""Work items: what is sent to a worker as a frozen JSON file, and what it sends back.

An item's key is a hash of everything its result depends on, so unfinished work is resumed only by the same work.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memo_assets.config import Study
from memo_assets.store.layout import Layout

WorkerStep = Literal["base_model", "adapters", "logits", "layer_scores"]


class WorkItem(BaseModel):
    """One task for one worker process.

    Attributes:
        study: the study's full settings.
        step: the asset to compute.
        seeds: split seeds to compute together; empty for steps without partitions.
        code_version: version of the step the submitter runs; a worker of another version refuses.
        inputs: content hashes of the input files.
        warehouse: the warehouse directory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Study
    step: WorkerStep
    seeds: list[int]
    code_version: str
    inputs: dict[str, str]
    warehouse: Path

    @property
    def key(self) -> str:
        """Name of the item's work folder: step, first seed, and a hash of all that its result depends on."""
        parts = [self.study.name, self.step, self.seeds, self.code_version, self.inputs]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        seed = f"-{self.seeds[0]}" if self.seeds else ""
        return f"{self.step}{seed}-{digest}"

    @property
    def layout(self) -> Layout:
        """Where the study's files lie."""
        return Layout(self.warehouse, self.study.name)

    @property
    def folder(self) -> Path:
        """The item's work folder: item.json, log.txt, progress.json, result.json, unfinished state."""
        return self.layout.work / self.key


class SeedResult(BaseModel):
    """What a worker made for one seed (or, with seed -1, for a step without partitions).

    Attributes:
        data_version: content hash of the files made.
        facts: numbers for the record: accuracy, loss, steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_version: str
    facts: dict[str, Any] = Field(default_factory=dict)


class ItemResult(BaseModel):
    """What a worker reports when it ends by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: dict[int, SeedResult] = Field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0


class Progress(BaseModel):
    """How far a running item is.

    Attributes:
        done: units done, of `total`.
        unit: what is counted: steps, samples, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    done: int
    total: int
    unit: str
