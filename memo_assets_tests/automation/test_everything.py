"""The job of the launchpad that brings a whole study up to date."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionsFilter, PartitionBackfill

from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.store.layout import Layout
from memo_assets_tests.automation.conftest import Asked, parts, toy

pytestmark = pytest.mark.slow


def launch(study: Study, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_defs([study]).resolve_job_def(f"{study.name}__everything")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def backfills(instance: dg.DagsterInstance) -> list[PartitionBackfill]:
    return list(instance.get_backfills(filters=BulkActionsFilter(), limit=10))


def targets(study: Study, backfill: PartitionBackfill) -> Asked:
    """What a backfill is to make."""
    graph = build_defs([study]).resolve_asset_graph()
    return parts(backfill.get_asset_backfill_data(graph).target_subset)


def test_all_that_is_not_fresh_is_one_backfill(instance: dg.DagsterInstance) -> None:
    study = toy(nightly=None, shadows={"models": 7, "block": 4, "audited": [0, 1]})
    Layout.of("toy").layer_scores(1).unlink()
    assert launch(study, instance).success
    (backfill,) = backfills(instance)
    assert backfill.title == "everything of toy"
    asked = targets(study, backfill)
    seeds = {name: asked[name] for name in ("split_masks", "adapters", "logits", "layer_scores")}
    assert seeds == {"split_masks": {"6"}, "adapters": {"6"}, "logits": {"6"}, "layer_scores": {"1"}}
    assert asked["shadow_logits"] == {"000-003", "004-006"}
    assert not {"raw_dataset", "samples"} & set(asked)
    assert {"memorization", "predictor_scores", "figure_roc", "report"} <= set(asked)

    again = launch(study, instance)
    assert not again.success  # it is in progress
    assert "study toy: split_masks, adapters" in str(
        again.get_step_failure_events()[0].step_failure_data.error
    )


def test_nothing_is_asked_for_where_everything_is_fresh(instance: dg.DagsterInstance) -> None:
    assert launch(toy(), instance).success
    assert backfills(instance) == []


def test_every_study_has_the_job() -> None:
    found = {job.name for job in build_defs().resolve_all_job_defs()}
    assert {"cities__everything", "digits__everything", "arc_mistral__everything"} <= found
