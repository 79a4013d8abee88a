"""A night with the real web server and daemon, shortened: cron says every minute."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionsFilter, PartitionBackfill

from memo_assets.automation.sensor import NIGHTLY_TAG
from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.status import study_state
from memo_assets_tests.automation.conftest import run, toy
from memo_assets_tests.automation.test_everything import targets
from memo_assets_tests.web import Web

pytestmark = pytest.mark.slow
EVERY_MINUTE = {"cron": "* * * * *"}
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id title status } } } }"


# Two models more than were made.
MORE = {"shadows": {"models": 8, "block": 3, "audited": [0, 1]}}


@pytest.fixture
def web(instance: dg.DagsterInstance, executor: LocalExecutor, tmp_path: Path) -> Iterator[Web]:
    """Over a study whose seeds 6 and 7 are not there, but for their split masks, and over one that is not nightly."""
    assert run(toy(**MORE), instance, executor, ["split_masks"], ["6", "7"])
    made = Web(tmp_path, toy(nightly=EVERY_MINUTE, **MORE), toy(name="other", nightly=None))
    yield made
    made.close()


def nightly_backfills(instance: dg.DagsterInstance) -> list[PartitionBackfill]:
    filters = BulkActionsFilter(tags={NIGHTLY_TAG: "toy"})
    return list(instance.get_backfills(filters=filters, limit=10))


def seeds_by_backfill(instance: dg.DagsterInstance, study: Study) -> list[set[str | None]]:
    """Split seeds whose adapters each night redid, first night first; logits go with them."""
    found = []
    for backfill in reversed(nightly_backfills(instance)):
        asked = targets(study, backfill)
        if "adapters" in asked:
            assert asked["logits"] == asked["adapters"]
            found.append(asked["adapters"])
    return found


def fresh(instance: dg.DagsterInstance, study: Study) -> bool:
    return not any(state.todo for state in study_state(study, build_defs([study]), instance))


@pytest.mark.timeout(1800)
def test_a_gap_then_a_changed_field_then_nothing_to_do(web: Web, instance: dg.DagsterInstance) -> None:
    # The job of the launchpad, of another study, while the night is waited for.
    launched = web.launch_job("other__everything")
    web.wait_for(launched, "SUCCESS", 120)
    (shown,) = web.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]
    assert shown["title"] == "everything of other"
    web.ask(
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=shown["id"]
    )

    web.wait_until(lambda: bool(nightly_backfills(instance)), 120)
    (backfill,) = nightly_backfills(instance)
    assert targets(web.study, backfill) == {"adapters": {"6", "7"}, "logits": {"6", "7"}}
    adapters = dg.AssetKey(["toy", "adapters"])
    missing = {"6", "7"}
    web.wait_until(lambda: missing <= instance.get_materialized_partitions(adapters), 240)
    assert len(nightly_backfills(instance)) == 1
    records = instance.fetch_materializations(adapters, limit=100).records
    made = [record for record in records if record.partition_key in missing]
    assert len(made) == 2
    (by,) = {record.run_id for record in made}
    found = instance.get_run_by_id(by)
    assert found is not None
    assert found.tags["dagster/backfill"] == backfill.backfill_id
    assert found.tags[NIGHTLY_TAG] == "toy"

    web.wait_until(lambda: fresh(instance, web.study), 240, every=5)

    # Another field of the study file: all seeds are stale.
    changed = toy(nightly=EVERY_MINUTE, **{**MORE, "training.learning_rate": 0.02})
    web.change(changed)
    web.wait_until(lambda: fresh(instance, changed), 800, every=5)
    nights = seeds_by_backfill(instance, changed)
    assert nights == [missing, {str(seed) for seed in changed.seeds}]

    # Nights come, and there is nothing to do.
    done = instance.get_runs_count()
    time.sleep(70)
    assert instance.get_runs_count() == done
    assert seeds_by_backfill(instance, changed) == nights
    assert fresh(instance, changed)
