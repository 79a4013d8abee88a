"""Staleness with 100 and 1,000 models: a changed seed makes its block stale, then the labels; no look-up per partition."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD
from sqlalchemy import Engine, event

from memo_assets.assets.spec import asset_key, blocks
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import steps
from memo_assets.status import Record
from memo_assets.study_file import StudyError, read_study
from memo_assets_tests.lineage.ask import dagsters_own, ours
from memo_assets_tests.lineage.cheap import Words, attributes, materialize, state_of
from memo_assets_tests.studies import CITIES, DIGITS, changed, write_study
from memo_assets_tests.studies import study as make

BELOW = {name for name, step in steps(make(CITIES)).items() if "shadow_logits" in step.upstream}


@dataclass
class Many:
    """A study of many models.

    queries: number of queries of one look at all partitions.
    """

    study: Study
    instance: dg.DagsterInstance
    queries: int = 0


@pytest.fixture(scope="module", params=[100, 1000])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    """Its split masks and logits were made, the logits loaded and labelled; its adapters were not."""
    folder = tmp_path_factory.mktemp(f"many{request.param}")
    study, words = make(attributes(folder, shadows__models=request.param, shadows__block=25)), Words()
    every = ("0", str(request.param - 1))
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("MEMO_WAREHOUSE", str(folder / "warehouse"))
        assert materialize(study, words, instance, "raw_dataset", "samples", "base_model")
        for name in ("split_masks", "logits"):
            assert materialize(study, words, instance, name, partitions=every)
        names = list(blocks(study))
        assert materialize(study, words, instance, "shadow_logits", partitions=(names[0], names[-1]))
        assert materialize(study, words, instance, *BELOW)
        many = Many(study, instance)
        record = Record(build_defs([study]), instance)
        with counted() as queries:
            record.states(study)
        many.queries = len(queries)
        yield many


@contextmanager
def counted() -> Iterator[list[str]]:
    """Queries sent to databases."""
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith("PRAGMA"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_changed_seed_makes_its_block_stale_then_what_is_made_of_the_blocks(many: Many) -> None:
    study, instance, words = many.study, many.instance, Words()
    seed = str(study.shadows.models - 42)
    (block,) = [name for name, seeds in blocks(study).items() if int(seed) in seeds]
    some = [("logits", seed), ("shadow_logits", block), ("shadow_logits", "000-024"), ("memorization", None)]
    before = state_of(study, instance)
    assert {name for name, _ in before} & {"logits", "shadow_logits", *BELOW} == set()

    assert materialize(study, words, instance, "logits", partitions=("0", "30"))  # the same work again
    words.made["logits", seed] = "other"
    assert materialize(study, words, instance, "logits", partitions=(seed, seed))
    cause = ("stale", f"logits has a new data version (seed {seed})")
    assert state_of(study, instance) == {**before, ("shadow_logits", block): cause}
    assert ours(study, instance, some) == dagsters_own(study, instance, some)

    words.made["shadow_logits", block] = "other"
    assert materialize(study, words, instance, "shadow_logits", partitions=(block, block))
    cause = ("stale", f"shadow_logits has a new data version (block {block})")
    assert state_of(study, instance) == {**before, **{(name, None): cause for name in BELOW}}
    assert ours(study, instance, some) == dagsters_own(study, instance, some)

    assert materialize(study, words, instance, *BELOW)
    assert state_of(study, instance) == before


def test_a_look_takes_no_query_per_partition(many: Many) -> None:
    assert many.queries < 6 * len(steps(many.study))


def test_dagsters_own_look_takes_some_per_partition(many: Many) -> None:
    """What the platform's way of reading the record is for; once Dagster does without, it can go."""
    if many.study.shadows.models == 100:
        with counted() as queries:
            dagsters_own(many.study, many.instance)
        assert len(queries) > 3 * many.study.shadows.models


def test_by_default_a_thousand_models_make_blocks_that_dagster_can_follow() -> None:
    limit = SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD
    study = make(DIGITS, {"shadows.models": 1000})
    assert len(blocks(study)) == 40 < limit
    assert {len(seeds) for seeds in blocks(study).values()} == {25}
    assert len(blocks(make(DIGITS, {"shadows.models": 2475}))) == limit - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": 2476}, "2476 models in blocks of 25 make more than 99 blocks; raise shadows.block"),
        (
            {"models": 1000, "block": 10},
            "1000 models in blocks of 10 make more than 99 blocks; raise shadows.block",
        ),
        ({"models": 1000, "block": 100}, "given 100; input should be less than or equal to 99"),
    ],
)
def test_blocks_that_dagster_cannot_follow_are_refused(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    settings = changed(DIGITS, {f"shadows.{field}": value for field, value in changes.items()})
    with pytest.raises(StudyError, match=message):
        read_study(write_study(tmp_path, settings))


def test_a_night_asks_for_all_seeds_without_a_query_each(many: Many) -> None:
    nightly = Study.model_validate({**many.study.model_dump(), "nightly": {}})
    definitions, evening = build_defs([nightly]), datetime(2031, 5, 1, 1, tzinfo=UTC)
    tick = dg.evaluate_automation_conditions(definitions, many.instance, evaluation_time=evening)
    with counted() as queries:
        night = dg.evaluate_automation_conditions(
            definitions,
            many.instance,
            evaluation_time=evening + timedelta(hours=1, seconds=11),
            cursor=tick.cursor,
        )
    wanted = night.get_requested_partitions(asset_key(many.study, "adapters"))
    assert len(wanted) == many.study.shadows.models
    assert len(queries) < 200
