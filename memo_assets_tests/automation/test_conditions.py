"""What the sensor of a nightly study asks for, and when: Dagster's own evaluation, on a study made for real."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from memo_assets.assets.check_records import SEEDS_AT_FAULT
from memo_assets.automation.situation import BY_SEED
from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import FIGURES, steps
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets_tests.automation.conftest import Sensor, carry_out, run, toy
from memo_assets_tests.studies import DIGITS, study

pytestmark = pytest.mark.slow
SIX = {"0", "1", "2", "3", "4", "5"}
Instance = dg.DagsterInstance


def test_a_fresh_study_is_left_alone_by_day_and_by_night(instance: Instance) -> None:
    sensor = Sensor(toy(), instance)
    assert [sensor.evening(), sensor.night(), sensor.later(1), sensor.night(1)] == [{}] * 4


def test_missing_seeds_are_one_backfill_at_night_and_the_rest_follows_by_itself(
    instance: Instance, executor: LocalExecutor
) -> None:
    more = toy(shadows={"models": 8, "block": 3, "audited": [0, 1]})
    sensor = Sensor(more, instance)
    masks = sensor.evening()
    assert masks == {"split_masks": {"6", "7"}}  # no GPU: at once
    carry_out(more, instance, executor, masks)
    assert sensor.later(-1) == {}  # no night yet
    asked = sensor.night()
    assert asked == {"adapters": {"6", "7"}, "logits": {"6", "7"}}
    assert sensor.backfills == [asked]
    assert sensor.runs == []
    assert sensor.later(1) == {}  # asked for once, whatever became of it
    carry_out(more, instance, executor, asked)
    block = sensor.later(2)
    assert block == {"shadow_logits": {"006-007"}}
    carry_out(more, instance, executor, block)
    rest = sensor.later(3)
    assert {"memorization", "label_stability", "predictor_evaluation", "report"} <= set(rest)
    assert not {"raw_dataset", "samples", *BY_SEED} & set(rest)
    assert sensor.runs == [set(rest)]  # one run
    carry_out(more, instance, executor, rest)
    assert [sensor.later(4), sensor.night(1), sensor.later(1, 1)] == [{}] * 3


def test_a_changed_field_redoes_all_below_it_and_nothing_else(instance: Instance) -> None:
    sensor = Sensor(toy(), instance)
    sensor.later(-300)
    sensor.study = toy(**{"training.learning_rate": 0.02})
    assert sensor.evening() == {}  # the labels are stale too, but of what is stale nothing is made
    asked = sensor.night()
    assert asked == {"audit": {None}, "adapters": SIX, "logits": SIX, "layer_scores": {"0", "1"}}
    assert sensor.runs == [{"audit"}]
    assert sensor.backfills == [{name: asked[name] for name in asked if name != "audit"}]


def test_a_change_made_while_no_sensor_was_there_counts(instance: Instance) -> None:
    sensor = Sensor(toy(**{"scores.psmi_directions": 21}), instance)
    assert sensor.evening() == {}
    assert sensor.night() == {"audit": {None}, "layer_scores": {"0", "1"}}


def test_another_title_needs_no_night(instance: Instance) -> None:
    sensor = Sensor(toy(title="Another"), instance)
    asked = sensor.evening()
    assert set(asked) == {name for name in steps(sensor.study) if name in FIGURES} | {
        "report",
        "audit_report",
    }
    assert sensor.runs == [set(asked)]


def test_a_night_waits_for_inputs_that_are_being_made(instance: Instance, executor: LocalExecutor) -> None:
    noisy = toy(noise={"share": 0.2})
    sensor = Sensor(toy(), instance)
    sensor.evening()
    sensor.study = noisy
    asked = sensor.night()
    assert asked == {"samples": {None}, "split_masks": SIX}
    carry_out(noisy, instance, executor, asked)
    assert sensor.later(1) == {
        "audit": {None},
        "adapters": SIX,
        "logits": SIX,
        "layer_scores": {"0", "1"},
    }


def gone(*seeds: int) -> None:
    """Take the files of some seeds' adapters and logits away."""
    layout = Layout.of("toy")
    for seed in seeds:
        layout.training_log(seed).unlink()
        layout.logits(seed).unlink()


def test_a_night_has_a_limit_of_seeds_and_the_next_goes_on(
    instance: Instance, executor: LocalExecutor
) -> None:
    bounded = toy(nightly={"max_seeds_per_night": 2})
    gone(1, 2, 5)
    Layout.of("toy").layer_scores(0).unlink()  # counts as well
    sensor = Sensor(bounded, instance)
    assert sensor.evening() == {}
    first = sensor.night()
    assert first == {"adapters": {"1"}, "logits": {"1"}, "layer_scores": {"0"}}
    carry_out(bounded, instance, executor, first)
    assert sensor.later(1) == {}
    second = sensor.night(1)
    assert second == {"adapters": {"2", "5"}, "logits": {"2", "5"}}
    assert sensor.backfills == [second]
    carry_out(bounded, instance, executor, second)
    assert [sensor.later(1, 1), sensor.night(2)] == [{}] * 2


def test_scores_of_a_single_seed_follow_its_adapters_in_the_same_night(
    instance: Instance, executor: LocalExecutor
) -> None:
    gone(0)
    Layout.of("toy").layer_scores(0).unlink()
    sensor = Sensor(toy(), instance)
    sensor.evening()
    first = sensor.night()
    assert first == {"adapters": {"0"}, "logits": {"0"}}  # two runs at the same time would have no order
    assert sensor.runs == [{"adapters", "logits"}]
    assert sensor.later(1) == {}
    carry_out(toy(), instance, executor, first)
    assert sensor.later(2) == {"layer_scores": {"0"}}
    assert sensor.later(3) == {}


def backfill(instance: Instance, of: Study, name: str, *seeds: str) -> None:
    """A backfill that is in progress."""
    graph = build_defs([of]).resolve_asset_graph()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id="busy",
            asset_graph=graph,
            partition_names=list(seeds),
            asset_selection=[dg.AssetKey([of.name, name])],
            backfill_timestamp=0.0,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )


@pytest.mark.parametrize("name", ["adapters", "logits"])
def test_seeds_in_progress_are_left_alone(instance: Instance, name: str) -> None:
    gone(2, 3, 4)
    backfill(instance, toy(), name, "3")
    sensor = Sensor(toy(), instance)
    sensor.evening()
    assert sensor.night() == {"adapters": {"2", "4"}, "logits": {"2", "4"}}


def test_nothing_is_written_that_something_in_progress_reads(instance: Instance) -> None:
    noisy = toy(noise={"share": 0.2})
    backfill(instance, toy(), "adapters", "3")
    sensor = Sensor(noisy, instance)
    assert sensor.evening() == {}
    backfill_done(instance)
    assert "samples" in sensor.later(-1)


def backfill_done(instance: Instance) -> None:
    found = instance.get_backfill("busy")
    assert found is not None
    instance.update_backfill(found.with_status(BulkActionStatus.COMPLETED_SUCCESS))


def test_a_failed_seed_is_tried_once_a_night_after_all_others(
    instance: Instance, executor: LocalExecutor
) -> None:
    of = toy(nightly={"max_seeds_per_night": 1})
    mask = Layout.of("toy").split_mask(1)
    good = mask.read_bytes()
    write_parquet(mask, pa.table({"sample_id": [10_000]}))
    assert not run(
        of, instance, executor, ["adapters"], ["0", "1", "2"]
    )  # 1 alone fails, and was fresh before
    mask.write_bytes(good)
    gone(4)
    sensor = Sensor(of, instance)
    assert sensor.evening() == {}
    asked = sensor.night()
    assert asked == {"adapters": {"4"}, "logits": {"4"}}
    carry_out(of, instance, executor, asked)
    assert sensor.night(1) == {"adapters": {"1"}}
    assert [sensor.later(minutes, 1) for minutes in (1, 2, 600)] == [
        {}
    ] * 3  # it was not carried out, so it failed again
    assert sensor.night(2) == {"adapters": {"1"}}


def test_nothing_is_built_on_split_seeds_that_a_check_found_broken(instance: Instance) -> None:
    def judged(*seeds: int) -> None:
        key = dg.AssetKey(["toy", "adapters"])
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name="weights_changed",
                passed=not seeds,
                metadata={SEEDS_AT_FAULT: list(seeds)} if seeds else {},
                blocking=True,
            )
        )

    for seed in (2, 4):
        Layout.of("toy").output("logits", seed).unlink()
    judged(4)
    sensor = Sensor(toy(nightly={"max_seeds_per_night": 1}), instance)
    sensor.evening()
    assert sensor.night() == {"logits": {"2"}}
    assert [sensor.later(1), sensor.night(1)] == [{}, {"logits": {"2"}}]  # it was not carried out
    sensor = Sensor(toy(), instance)
    sensor.evening()
    assert sensor.night(2) == {"logits": {"2"}}
    Layout.of("toy").output("adapters", 4).unlink()
    assert sensor.later(1, 2) == {}  # no night
    assert sensor.night(3) == {
        "adapters": {"4"},
        "logits": {"2", "4"},
    }  # what is at fault is made again first
    judged()
    sensor = Sensor(toy(), instance)
    sensor.evening(4)
    assert sensor.night(4) == {"adapters": {"4"}, "logits": {"2", "4"}}


def test_what_needs_no_gpu_and_fails_is_tried_again_after_a_change_or_at_night(
    instance: Instance, executor: LocalExecutor
) -> None:
    other = toy(description="In other words")
    sensor = Sensor(other, instance)
    assert sensor.evening() == {"report": {None}}
    page = Layout.of("toy").report
    page.unlink()
    page.mkdir()
    assert not run(other, instance, executor, ["report"])
    assert [sensor.later(-2), sensor.later(-1)] == [{}] * 2
    assert sensor.night() == {"report": {None}}
    assert not run(other, instance, executor, ["report"])
    assert [sensor.later(1), sensor.later(2)] == [{}] * 2
    page.rmdir()
    sensor.study = toy(description="In words that work")
    asked = sensor.later(3)
    assert asked == {"report": {None}}
    carry_out(sensor.study, instance, executor, asked)
    assert [sensor.later(4), sensor.night(1)] == [{}] * 2


def test_only_a_nightly_study_has_conditions_and_a_sensor_of_its_own_that_runs() -> None:
    definitions = build_defs([toy(), study(DIGITS)])
    graph = definitions.resolve_asset_graph()
    automated = {
        key.path[0] for key in graph.materializable_asset_keys if graph.get(key).automation_condition
    }
    assert automated == {"toy"}
    assert {key.path[1] for key in graph.materializable_asset_keys if key.path[0] == "toy"} == set(
        steps(toy())
    )
    kind = dg.AutomationConditionSensorDefinition
    (sensor,) = [sensor for sensor in definitions.sensors or [] if isinstance(sensor, kind)]
    assert sensor.name == "toy__nightly"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.emit_backfills
    found: Any = sensor.asset_selection.resolve(graph)
    assert {key.path[0] for key in found} == {"toy"}
    assert "at cron 0 2 * * * (UTC)" in (sensor.description or "")
