"""Work items: what is sent to a worker as a frozen JSON file, and what it sends back.

An item's key is a hash of everything its result depends on, so unfinished work is resumed only by the same work.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memo_assets.config import GpuStep, Study
from memo_assets.store.layout import Layout

NO_SEED = -1
_PIECES = 8
_OF_SEED = re.compile(r"seed=(\d+)(?:\.|/|$)")


class WorkItem(BaseModel):
    """One task for one worker process.

    Attributes:
        study: the study's full settings.
        step: the asset to compute.
        seeds: split seeds to compute together; empty for steps without partitions.
        code_version: version of the step the submitter runs; a worker of another version refuses.
        source: `source_version` of the submitter; a worker of another source refuses.
        inputs: content hashes of the input files, by path.
        warehouse: the warehouse directory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Study
    step: GpuStep
    seeds: list[int]
    code_version: str
    source: str
    inputs: dict[str, str]
    warehouse: Path

    @property
    def key(self) -> str:
        """Name of the item's work folder: step, first seed, and a hash of all that its result depends on."""
        digest = _hash([self.study.name, self.step, self.seeds, self.code_version, self.inputs])
        seed = f"-{self.seeds[0]}" if self.seeds else ""
        return f"{self.step}{seed}-{digest}"

    @property
    def shared_key(self) -> str:
        """A hash of all that the items of this step have in common, whatever their seeds."""
        return _hash([self.study.name, self.step, self.code_version, self.only([]).inputs])

    @property
    def units(self) -> list[int]:
        """What is recorded one by one: the split seeds, or NO_SEED for a step without partitions."""
        return self.seeds or [NO_SEED]

    def unit_keys(self) -> dict[int, str]:
        """By seed, the hash of all that its result depends on, whatever seeds it is computed together with."""
        own: dict[int, dict[str, str]] = {unit: {} for unit in self.units}
        shared: dict[str, str] = {}
        for path, content in self.inputs.items():
            match = _OF_SEED.search(path)
            if match is None:
                shared[path] = content
            elif int(match.group(1)) in own:
                own[int(match.group(1))][path] = content
        name = self.study.name
        return {
            unit: _hash([name, self.step, unit, self.code_version, {**shared, **own[unit]}]) for unit in own
        }

    def only(self, seeds: Sequence[int]) -> "WorkItem":
        """The item for some of its seeds: with the inputs that all share, and their own."""
        found = {path: _OF_SEED.search(path) for path in self.inputs}
        wanted = set(seeds)
        inputs = {
            path: self.inputs[path]
            for path, match in found.items()
            if match is None or int(match.group(1)) in wanted
        }
        return self.model_copy(update={"seeds": list(seeds), "inputs": inputs})

    @property
    def layout(self) -> Layout:
        """Where the study's files lie."""
        return Layout(self.warehouse, self.study.name)

    @property
    def folder(self) -> Path:
        """The item's work folder: item.json, log.txt, progress.json, result.json, unfinished state."""
        return self.layout.work / self.key

    def __str__(self) -> str:
        """Step and seeds in words, for logs."""
        return f"{self.step}, {seeds_in_words(self.seeds)}" if self.seeds else self.step


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Such as `seed 3`, `seeds 0 to 7 (8)`, `seeds 0, 1, 5` or `seeds 0 to 3, 9 (5)`; no more than eight pieces."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    places = groupby(enumerate(seeds), key=lambda place: place[1] - place[0])
    runs = [[seed for _, seed in group] for _, group in places]
    if len(runs) == 1:
        return f"seeds {seeds[0]} to {seeds[-1]} ({len(seeds)})"
    pieces = [piece for run in runs for piece in ([run] if len(run) > 2 else [[seed] for seed in run])]
    shown = pieces if len(pieces) <= _PIECES else pieces[: _PIECES - 1]
    words = ", ".join(f"{piece[0]} to {piece[-1]}" if len(piece) > 1 else str(piece[0]) for piece in shown)
    left = len(seeds) - sum(map(len, shown))
    more = f" and {left} more" if left else ""
    return f"seeds {words}{more}" + (f" ({len(seeds)})" if len(shown) < len(seeds) else "")


def packs(study: Study, seeds: Sequence[int]) -> list[list[int]]:
    """Split seeds computed together; on a fixed grid, so that a redo packs the same seeds together.

    Args:
        study: whose compute.pack is the width of the grid.
        seeds: some split seeds.
    """
    return [list(group) for _, group in groupby(sorted(seeds), key=lambda seed: seed // study.compute.pack)]


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
    """What a worker reports when it ends by itself.

    Attributes:
        seeds: by split seed.
        error: one sentence; None if all went well.
        lost: the worker was lost without a word, for a reason that may pass: trying again is worth it.
        seconds: wall time of the worker, over all attempts that were queued again.
        peak_memory_bytes: largest resident memory of the worker process.
        host: machine it ran on.
        job: Slurm's id of the task, such as 17_3; None where no Slurm was.
        gpus: GPUs it was given.
        attempts: how often it was started: 1 where nothing interrupted it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: dict[int, SeedResult] = Field(default_factory=dict)
    error: str | None = None
    lost: bool = False
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    host: str = ""
    job: str | None = None
    gpus: int = 0
    attempts: int = 1


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


def _hash(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
