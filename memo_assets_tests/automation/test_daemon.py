"""A night with the real web server and daemon, shortened: cron says every minute."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionsFilter, PartitionBackfill

from memo_assets.automation.sensor import NIGHTLY_TAG
from memo_assets.compute.local import LocalExecutor
from memo_assets.instance import open_instance
from memo_assets_tests.automation.conftest import run, toy
from memo_assets_tests.automation.test_everything import targets
from memo_assets_tests.web import Web

pytestmark = pytest.mark.slow
EVERY_MINUTE = {"cron": "* * * * *"}
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id title status } } } }"


@pytest.fixture
def warehouse_with_a_gap(warehouse: Path, executor: LocalExecutor) -> None:
    """Seeds 2 and 3 of 6 are not there, nor anything that needs all seeds."""
    study = toy()
    with open_instance() as instance:
        assert run(study, instance, executor, ["raw_dataset", "samples"])
        assert run(study, instance, executor, ["split_masks"], ["0", "5"])
        for name in ("adapters", "logits"):
            for ends in (["0", "1"], ["4", "5"]):
                assert run(study, instance, executor, [name], ends)
        assert run(study, instance, executor, ["layer_scores"], ["0", "1"])


@pytest.fixture
def web(warehouse_with_a_gap: None, tmp_path: Path) -> Iterator[Web]:
    made = Web(tmp_path, toy(nightly=EVERY_MINUTE), toy(name="other", nightly=None))
    yield made
    made.close()


def nightly_backfills(instance: dg.DagsterInstance) -> list[PartitionBackfill]:
    filters = BulkActionsFilter(tags={NIGHTLY_TAG: "toy"})
    return list(instance.get_backfills(filters=filters, limit=10))


def test_a_gap_of_seeds_is_one_backfill_of_exactly_these_seeds(web: Web) -> None:
    # The job of the launchpad, of another study, while the night is waited for.
    launched = web.launch_job("other__everything")
    web.wait_for(launched, "SUCCESS", 60)
    (shown,) = web.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]
    assert shown["title"] == "everything of other"
    web.ask(
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=shown["id"]
    )

    with open_instance() as instance:
        web.wait_until(lambda: bool(nightly_backfills(instance)), 120)
        (backfill,) = nightly_backfills(instance)
        assert targets(web.study, backfill) == {"adapters": {"2", "3"}, "logits": {"2", "3"}}
        adapters = dg.AssetKey(["toy", "adapters"])
        missing = {"2", "3"}
        web.wait_until(lambda: missing <= instance.get_materialized_partitions(adapters), 120)
        assert len(nightly_backfills(instance)) == 1
        records = instance.fetch_materializations(adapters, limit=100).records
        made = [record for record in records if record.partition_key in missing]
        assert len(made) == 2
        (by,) = {record.run_id for record in made}
        found = instance.get_run_by_id(by)
        assert found is not None
        assert found.tags["dagster/backfill"] == backfill.backfill_id
        assert found.tags[NIGHTLY_TAG] == "toy"
