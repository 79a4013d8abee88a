"""Work items: their key and their journey through JSON."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memo_assets.compute.items import (
    NO_SEED,
    ItemResult,
    Progress,
    SeedResult,
    WorkItem,
    packs,
    seeds_in_words,
)

from .small_items import item, small_study

WAREHOUSE = Path("/w")
INPUTS = {"samples.parquet": "a", "split_masks/seed=4.parquet": "b", "split_masks/seed=5.parquet": "c"}
ITEM = item(WAREHOUSE, small_study(), "adapters", [4, 5], code_version="v1", inputs=INPUTS)


def test_an_item_comes_back_from_json_as_it_was() -> None:
    again = WorkItem.model_validate_json(ITEM.model_dump_json())
    assert again == ITEM
    assert again.key == ITEM.key


def test_the_key_tells_step_and_first_seed() -> None:
    assert ITEM.key.startswith("adapters-4-")
    assert item(WAREHOUSE, small_study(), "logits", [], code_version="v1").key.count("-") == 1
    assert ITEM.folder == WAREHOUSE / "artifacts" / "tiny" / "work" / ITEM.key
    assert ITEM.layout.samples == WAREHOUSE / "artifacts" / "tiny" / "samples.parquet"


@pytest.mark.parametrize(
    "other",
    [
        {"study": small_study({"name": "other"})},
        {"step": "logits"},
        {"seeds": [4, 6]},
        {"seeds": [4]},
        {"code_version": "v2"},
        {"inputs": {**INPUTS, "samples.parquet": "b"}},
        {"inputs": {**INPUTS, "more": "c"}},
    ],
)
def test_the_key_changes_with_all_that_the_result_depends_on(other: dict[str, Any]) -> None:
    assert ITEM.model_copy(update=other).key != ITEM.key


@pytest.mark.parametrize(
    "other",
    [
        {"study": small_study({"compute.workers": 7, "compute.pack": 3, "title": "Renamed"})},
        {"warehouse": Path("/elsewhere")},
        {"source": "another"},
        {"inputs": dict(ITEM.inputs)},
    ],
)
def test_the_key_does_not_change_with_how_and_where_it_runs(other: dict[str, Any]) -> None:
    changed = ITEM.model_copy(update=other)
    assert changed.key == ITEM.key
    assert changed.unit_keys()[4] == ITEM.unit_keys()[4]


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        ({"study": small_study({"name": "other"})}, {4, 5}),
        ({"step": "logits"}, {4, 5}),
        ({"code_version": "v2"}, {4, 5}),
        ({"inputs": {**INPUTS, "samples.parquet": "z"}}, {4, 5}),
        ({"inputs": {**INPUTS, "split_masks/seed=5.parquet": "z"}}, {5}),
        ({"inputs": {**INPUTS, "adapters/seed=4": "z"}}, {4}),
        ({"inputs": {**INPUTS, "split_masks/seed=45.parquet": "z"}}, set()),
        ({"seeds": [4, 5, 6]}, set()),
    ],
)
def test_the_key_of_a_seed_changes_with_what_that_seed_depends_on(
    other: dict[str, Any], changes: set[int]
) -> None:
    changed = ITEM.model_copy(update=other)
    assert {seed for seed in (4, 5) if changed.unit_keys()[seed] != ITEM.unit_keys()[seed]} == changes
    assert ITEM.unit_keys()[4] != ITEM.unit_keys()[5]


@pytest.mark.parametrize(
    ("other", "is_another"),
    [
        ({"study": small_study({"name": "other"})}, True),
        ({"step": "logits"}, True),
        ({"code_version": "v2"}, True),
        ({"inputs": {**INPUTS, "samples.parquet": "z"}}, True),
        ({"inputs": {"samples.parquet": "a", "adapters/seed=9": "y"}, "seeds": [9]}, False),
    ],
)
def test_what_items_share_does_not_change_with_their_seeds(other: dict[str, Any], is_another: bool) -> None:
    assert (ITEM.model_copy(update=other).shared_key != ITEM.shared_key) == is_another


def test_an_item_for_some_of_its_seeds_is_that_which_is_made_for_them_alone() -> None:
    inputs = {"samples.parquet": "a", "split_masks/seed=5.parquet": "c"}
    alone = item(WAREHOUSE, small_study(), "adapters", [5], code_version="v1", inputs=inputs)
    assert ITEM.only([5]) == alone
    assert ITEM.only([5]).key == alone.key != ITEM.key
    assert ITEM.only([5]).unit_keys()[5] == ITEM.unit_keys()[5]
    assert ITEM.only([4, 5]) == ITEM


def test_a_step_without_partitions_is_one_unit() -> None:
    base = item(
        WAREHOUSE, small_study(), "adapters", [], code_version="v1", inputs={"background.parquet": "a"}
    )
    assert base.units == [NO_SEED]
    assert ITEM.units == [4, 5]
    other = base.model_copy(update={"inputs": {"background.parquet": "b"}})
    assert base.unit_keys()[NO_SEED] != other.unit_keys()[NO_SEED]
    assert str(base) == "adapters"
    assert str(ITEM) == "adapters, seeds 4 to 5 (2)"


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([3], "seed 3"),
        (list(range(8)), "seeds 0 to 7 (8)"),
        ([0, 1, 5], "seeds 0, 1, 5"),
        ([0, 1, 2, 7, 9, 10, 11], "seeds 0 to 2, 7, 9 to 11 (7)"),
        (list(range(0, 16, 2)), "seeds 0, 2, 4, 6, 8, 10, 12, 14"),
        (list(range(0, 1000, 2)), "seeds 0, 2, 4, 6, 8, 10, 12 and 493 more (500)"),
        ([0, 1, 2, *range(10, 90, 10), 90], "seeds 0 to 2, 10, 20, 30, 40, 50, 60 and 3 more (12)"),
    ],
)
def test_seeds_in_words(seeds: list[int], words: str) -> None:
    assert seeds_in_words(seeds) == words


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (range(7), [[0, 1, 2], [3, 4, 5], [6]]),
        ([4, 2, 3], [[2], [3, 4]]),
        ([8, 5], [[5], [8]]),
        ([], []),
    ],
)
def test_packs_lie_on_a_grid_whatever_seeds_are_wanted(seeds: list[int], expected: list[list[int]]) -> None:
    assert packs(small_study({"compute.pack": 3}), seeds) == expected


def test_items_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ITEM.step = "logits"
    with pytest.raises(ValidationError, match="Extra inputs"):
        WorkItem.model_validate({**ITEM.model_dump(), "priority": 1})
    with pytest.raises(ValidationError, match="'logits', 'layer_scores' or 'answer_variation'"):
        WorkItem.model_validate({**ITEM.model_dump(), "step": "report"})


def test_results_come_back_from_json_with_seeds_as_numbers() -> None:
    result = ItemResult(
        seeds={3: SeedResult(data_version="x", facts={"loss": None, "steps": 8})}, seconds=1.5
    )
    assert ItemResult.model_validate_json(result.model_dump_json()) == result
    progress = Progress(done=1, total=8, unit="steps")
    assert Progress.model_validate(progress.model_dump()) == progress
