"""Work items: their key and their journey through JSON."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memo_assets.compute.items import ItemResult, Progress, SeedResult, WorkItem

from .small_items import item, small_study

WAREHOUSE = Path("/w")
ITEM = item(WAREHOUSE, small_study(), "adapters", [4, 5], code_version="v1", inputs={"samples.parquet": "a"})


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
        {"inputs": {"samples.parquet": "b"}},
        {"inputs": {"samples.parquet": "a", "more": "c"}},
    ],
)
def test_the_key_changes_with_all_that_the_result_depends_on(other: dict[str, Any]) -> None:
    assert ITEM.model_copy(update=other).key != ITEM.key


@pytest.mark.parametrize(
    "other",
    [
        {"study": small_study({"compute.workers": 7, "compute.pack": 3, "title": "Renamed"})},
        {"warehouse": Path("/elsewhere")},
        {"inputs": dict(ITEM.inputs)},
    ],
)
def test_the_key_does_not_change_with_how_and_where_it_runs(other: dict[str, Any]) -> None:
    assert ITEM.model_copy(update=other).key == ITEM.key


def test_items_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ITEM.step = "logits"
    with pytest.raises(ValidationError, match="Extra inputs"):
        WorkItem.model_validate({**ITEM.model_dump(), "priority": 1})
    with pytest.raises(ValidationError, match="'base_model', 'adapters', 'logits' or 'layer_scores'"):
        WorkItem.model_validate({**ITEM.model_dump(), "step": "report"})


def test_results_come_back_from_json_with_seeds_as_numbers() -> None:
    result = ItemResult(
        seeds={3: SeedResult(data_version="x", facts={"loss": None, "steps": 8})}, seconds=1.5
    )
    assert ItemResult.model_validate_json(result.model_dump_json()) == result
    progress = Progress(done=1, total=8, unit="steps")
    assert Progress.model_validate(progress.model_dump()) == progress
