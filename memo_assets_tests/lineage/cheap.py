"""A study whose expensive steps are cheap: the graph, the recording and the pipeline are the real ones, nothing trains.

What a step would have made is a word, which tests change to make it another result, or refuse to make it fail.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from memo_assets.assets import samples, source
from memo_assets.assets.recording import all_recorded, record_partition
from memo_assets.assets.spec import asset_key, blocks, study_asset
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import AssetState, partition_keys, study_state
from memo_assets.store.files import write_text
from memo_assets.store.layout import DATABASE_NAME, Layout
from memo_assets.store.provenance import Provenance, record_provenance
from memo_assets.store.schema import tables_of
from memo_assets.store.tables import publish
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.studies import TABLE, changed

REAL = ("raw_dataset", "samples", "split_masks")


@dataclass
class Words:
    """What the cheap steps make.

    made: words by asset and partition (None: without partitions); by default `first`.
    failing: what fails instead.
    """

    made: dict[tuple[str, str | None], str] = field(default_factory=dict)
    failing: set[tuple[str, str | None]] = field(default_factory=set)


def attributes(folder: Path, rows: int = 40, **changes: Any) -> dict[str, Any]:
    """Settings of a language study on a table of its own in a folder; dotted fields with __ for the point."""
    path = write_rows(folder, rows)
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return changed(TABLE, {"data.path": str(path), "shadows.models": 4, "shadows.block": 2, **dotted})


def write_rows(folder: Path, rows: int = 40, last: str = "end") -> Path:
    """The table of the study."""
    path = folder / "rows.csv"
    lines = [f"text {row} {last if row == rows - 1 else ''},{'ab'[row % 2]}" for row in range(rows)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


def definitions(study: Study, words: Words) -> dg.Definitions:
    """The study's assets; the steps up to the split masks are the real ones."""
    real = [*source.build(study), *samples.build(study)]
    cheap = [_step(study, name, words) for name in steps(study) if name not in REAL]
    return dg.Definitions(assets=[*real, *cheap], executor=dg.in_process_executor)


def run(study: Study, words: Words, instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """Bring the study up to date; what was made, by asset and partition."""
    recorder = Recorder()
    bring_up_to_date(study, definitions(study, words), instance, recorder)
    return [(name, partition) for _, name, partition in recorder.done]


def materialize(
    study: Study,
    words: Words,
    instance: dg.DagsterInstance,
    *names: str,
    partitions: tuple[str, str] | None = None,
) -> bool:
    """Run some assets whether they are stale or not, or one for a range of its partitions; whether that went well."""
    keys = [asset_key(study, name) for name in names]
    job = definitions(study, words).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    ends = zip(("start", "end"), partitions or (), strict=False)
    result = job.execute_in_process(
        instance=instance,
        asset_selection=keys,
        tags={f"dagster/asset_partition_range_{end}": partition for end, partition in ends},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return result.success


def not_fresh(states: list[AssetState]) -> dict[tuple[str, str | None], tuple[str, str]]:
    """State and cause by asset and partition."""
    return {(state.name, part.partition): (part.state, part.cause) for state in states for part in state.todo}


def state_of(study: Study, instance: dg.DagsterInstance) -> dict[tuple[str, str | None], tuple[str, str]]:
    """What is not fresh by the real definitions of a study."""
    return not_fresh(study_state(study, build_defs([study]), instance))


def _say_loaded(study: Study, name: str, partition: str | None) -> None:
    """Leave in the warehouse that the tables of a step were loaded, without any rows."""
    if tables := tables_of(name):
        made = Provenance(asset=name, run_id="", code_version="", data_version="", input_versions={})
        seeds = None if partition is None else list(blocks(study)[partition])
        with publish() as connection:
            rows = dict.fromkeys(tables, 0)
            record_provenance(connection, study.name, made, rows, block=partition, split_seeds=seeds)


def _step(study: Study, name: str, words: Words) -> dg.AssetsDefinition:
    def make(partition: str | None) -> str:
        if (name, partition) in words.failing:
            raise dg.Failure(f"{study.name}/{name} cannot make {partition}")
        seed = int(partition) if partition is not None and partition.isdecimal() else None
        said = words.made.get((name, partition), "first")
        file = Layout.of(study.name).output(name, seed)
        if file.name != DATABASE_NAME:
            write_text(file, json.dumps(said))
        _say_loaded(study, name, partition)
        return hashlib.sha256(f"{name} {partition} {said}".encode()).hexdigest()[:8]

    @study_asset(study, name)
    def step(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        if partition_keys(study, name) == [None]:
            return dg.MaterializeResult(data_version=dg.DataVersion(make(None)))
        problems = []
        for partition in context.partition_keys:
            try:
                record_partition(context, partition, data_version=make(partition), metadata={"seconds": 1.0})
            except dg.Failure as failure:
                problems.append(failure)
        if problems:
            raise problems[0]
        return all_recorded()

    return step
