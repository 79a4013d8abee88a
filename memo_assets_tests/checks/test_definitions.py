"""The checks as Dagster has them: names, severity, what they judge anew, and what they stop. No model is trained."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memo_assets.assets.check_list import CHECKS, study_checks
from memo_assets.assets.check_records import JUDGED_UP_TO, SEEDS_AT_FAULT, require_passed, unproven
from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import code_versions
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout, database_path
from memo_assets_tests.checks.sound import Sound
from memo_assets_tests.studies import CITIES, DIGITS, TABLE, changed, study

BLOCKING = {
    "samples/ids_unique_and_stable",
    "samples/labels_tokenizable",
    "split_masks/masks_balanced",
    "base_model/labels_tokenizable",
    "adapters/weights_changed",
    "logits/logits_complete",
}
WARNING = {
    "samples/rows_in_warehouse",
    "adapters/loss_fell",
    "logits/accuracy_above_chance",
    "layer_scores/psmi_classes_large_enough",
    "at_risk/rows_in_warehouse",
    "shadow_logits/rows_in_warehouse",
    "memorization/enough_shadows",
    "memorization/labels_not_degenerate",
    "memorization/rows_in_warehouse",
    "label_stability/rows_in_warehouse",
    "memorization_skewness/rows_in_warehouse",
    "population_memorization/rows_in_warehouse",
    "predictor_scores/rows_in_warehouse",
    "predictor_evaluation/auc_above_half",
    "predictor_evaluation/rows_in_warehouse",
}
WARNING |= {name.replace("rows_in_warehouse", "provenance_agrees") for name in WARNING}
OF_CHOICES = {"variation_summary/rows_in_warehouse", "variation_summary/provenance_agrees"}
OF_LANGUAGE = {"samples/labels_tokenizable", "base_model/labels_tokenizable"}


@pytest.mark.parametrize("base", [DIGITS, TABLE, CITIES, changed(TABLE, {"data.choices": "choices"})])
def test_names_and_which_of_them_block(base: dict) -> None:
    of = study(base)
    graph = build_defs([of]).resolve_asset_graph()
    found = {
        f"{key.asset_key.path[-1]}/{key.name}": graph.get(key).blocking for key in graph.asset_check_keys
    }
    assert all(key.asset_key.path[0] == of.name for key in graph.asset_check_keys)
    expected = {name: name in BLOCKING for name in BLOCKING | WARNING}
    if of.has_choices:
        expected |= dict.fromkeys(OF_CHOICES, False)
    if not of.is_language:
        expected = {name: blocks for name, blocks in expected.items() if name not in OF_LANGUAGE}
    assert found == expected
    assert {f"{check.asset}/{check.name}" for check in CHECKS} == BLOCKING | WARNING | OF_CHOICES
    assert all(graph.get(key).description for key in graph.asset_check_keys)


@pytest.fixture
def instance(warehouse: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(
    of: Study, instance: dg.DagsterInstance, names: list[str], seeds: tuple[int, int] | None = None
) -> dg.ExecuteInProcessResult:
    """Materialize assets with their checks, as the web UI would."""
    keys = [asset_key(of, name) for name in names]
    job = build_defs([of]).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    tags = {}
    if seeds is not None:
        first, last = map(str, seeds)
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return job.execute_in_process(instance=instance, asset_selection=keys, tags=tags, raise_on_error=False)


def check(of: Study, instance: dg.DagsterInstance, asset: str, name: str) -> dg.AssetCheckEvaluation:
    """Execute one check alone, as the web UI would."""
    key = dg.AssetCheckKey(asset_key(of, asset), name)
    job = build_defs([of]).resolve_implicit_job_def_def_for_assets([key.asset_key])
    assert job is not None
    result = job.get_subset(asset_check_selection={key}).execute_in_process(
        instance=instance, raise_on_error=False
    )
    (found,) = result.get_asset_check_evaluations()
    assert found.asset_check_key == key
    return found


def found_by(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_samples_are_judged_in_their_run_and_when_raw_data_change_under_them(
    instance: dg.DagsterInstance,
) -> None:
    of = study(DIGITS)
    result = run(of, instance, ["raw_dataset", "samples"])
    assert result.success
    evaluated = found_by(result)
    assert set(evaluated) == {"ids_unique_and_stable", "rows_in_warehouse", "provenance_agrees"}
    assert all(evaluation.passed for evaluation in evaluated.values())
    assert evaluated["ids_unique_and_stable"].metadata["samples"].value == 90
    assert evaluated["rows_in_warehouse"].severity == dg.AssetCheckSeverity.WARN

    layout = Layout.of(of.name)
    items = pq.read_table(layout.items).to_pandas()
    write_parquet(layout.items, pa.Table.from_pandas(items.assign(item_id=items["item_id"] + "x")))
    failed = check(of, instance, "samples", "ids_unique_and_stable")
    assert not failed.passed
    assert failed.blocking
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    assert "than their raw item: 0, 1, 2, 3, 4 (90 in all)" in str(failed.description)
    with pytest.raises(dg.Failure, match="samples, ids_unique_and_stable: samples with another id"):
        require_passed(instance, of, "adapters", [0])


def test_a_file_that_cannot_be_read_fails_the_check_and_not_the_step(instance: dg.DagsterInstance) -> None:
    of = study(DIGITS)
    assert run(of, instance, ["raw_dataset", "samples"]).success
    layout = Layout.of(of.name)
    layout.samples.write_bytes(layout.samples.read_bytes()[:-100])
    warned = check(of, instance, "samples", "rows_in_warehouse")
    assert not warned.passed
    assert warned.severity == dg.AssetCheckSeverity.WARN
    assert str(warned.description).startswith("what samples left cannot be read: ArrowInvalid: ")
    assert str(warned.description).endswith(
        "Materialize samples again, or execute this check again if what hindered it has passed"
    )
    blocked = check(of, instance, "samples", "ids_unique_and_stable")
    assert (blocked.passed, blocked.blocking) == (False, True)
    with pytest.raises(dg.Failure, match="samples, ids_unique_and_stable: what samples left cannot be read"):
        require_passed(instance, of, "adapters", [0])


def test_a_warehouse_that_cannot_be_opened_fails_the_check_and_not_the_step(
    instance: dg.DagsterInstance,
) -> None:
    of = study(DIGITS)
    assert run(of, instance, ["raw_dataset", "samples"]).success
    database_path().write_bytes(b"no database")
    warned = check(of, instance, "samples", "rows_in_warehouse")
    assert not warned.passed
    assert str(warned.description).startswith("what samples left cannot be read: WarehouseError: ")


def test_masks_are_judged_over_all_models_recorded_and_stop_what_is_below(
    instance: dg.DagsterInstance,
) -> None:
    of = study(DIGITS)
    assert run(of, instance, ["raw_dataset", "samples"]).success
    assert (
        found_by(run(of, instance, ["split_masks"], (0, 1)))["masks_balanced"].metadata["models"].value == 2
    )
    result = run(of, instance, ["split_masks"], (2, 3))
    evaluation = found_by(result)["masks_balanced"]
    assert result.success
    assert evaluation.metadata["models"].value == 4
    assert evaluation.partition is None

    layout = Layout.of(of.name)
    mask = pq.read_table(layout.split_mask(0))
    write_parquet(layout.split_mask(0), mask.slice(1))
    result = run(of, instance, ["split_masks", "adapters"], (2, 3))
    assert not result.success
    assert found_by(result)["masks_balanced"].metadata[SEEDS_AT_FAULT].value == [0]
    started = {
        event.step_key for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_START
    }
    assert started == {"tiny__split_masks", "tiny__split_masks_masks_balanced"}
    layout.split_mask(0).unlink()  # what is gone is for the next run to make
    assert check(of, instance, "split_masks", "masks_balanced").metadata["models"].value == 3
    other = study(DIGITS, {"shadows.train_share": 0.4})
    result = run(other, instance, ["split_masks"], (2, 3))
    assert result.success
    assert (
        found_by(result)["masks_balanced"].metadata["models"].value == 2
    )  # the others are of other settings


class Trained:
    """Adapters recorded as a run would, on a study whose files are made up."""

    def __init__(self, warehouse: Path, instance: dg.DagsterInstance) -> None:
        self.sound, self.instance = Sound(warehouse), instance
        self.study = self.sound.study

    def record(self, *seeds: int, broken: bool = False, code_version: str | None = None) -> None:
        for seed in seeds:
            last = {"a": np.full((2, 3), np.nan, np.float32)} if broken else None
            self.sound.write_weights(seed, last)
            self.sound.write_log(seed)
            tags = {"dagster/code_version": code_version or code_versions(self.study)["adapters"]}
            event = dg.AssetMaterialization(asset_key(self.study, "adapters"), partition=str(seed), tags=tags)
            self.instance.report_runless_asset_event(event)

    def judged(self) -> tuple[bool, int]:
        """Whether the check of weights passes, and of how many models it read the weights."""
        found = check(self.study, self.instance, "adapters", "weights_changed")
        (models,) = (found.metadata["models"].value,)
        assert isinstance(models, int)
        return found.passed, models


def test_models_are_judged_once_and_again_until_they_pass(
    warehouse: Path, instance: dg.DagsterInstance
) -> None:
    trained = Trained(warehouse, instance)
    trained.record(0, 1)
    assert trained.judged() == (True, 2)
    trained.record(2)
    assert trained.judged() == (True, 1)
    assert trained.judged() == (True, 3)  # nothing is new: all
    trained.record(3, broken=True)
    assert trained.judged() == (False, 1)
    trained.record(1)
    assert trained.judged() == (False, 2)  # seed 3 was never found to be sound
    trained.record(3)
    assert trained.judged() == (True, 2)
    assert trained.judged() == (True, 4)
    trained.record(0, code_version="of other settings", broken=True)
    assert trained.judged() == (True, 3)


def test_what_a_failed_check_found_at_fault_is_not_built_on_in_later_runs(
    warehouse: Path, instance: dg.DagsterInstance
) -> None:
    trained = Trained(warehouse, instance)
    of = trained.study
    assert {check.name for check in unproven(instance, of, ["adapters"])} == {"weights_changed"}
    require_passed(instance, of, "logits", [0, 1])  # never judged is not failed
    trained.record(0)
    trained.record(1, broken=True)
    assert trained.judged() == (False, 2)
    require_passed(instance, of, "logits", [0])
    require_passed(instance, of, "adapters", [1])
    with pytest.raises(
        dg.Failure,
        match=r"tiny/logits is not run.*adapters, weights_changed: weights that are not finite: seed 1\.",
    ):
        require_passed(instance, of, "logits", [0, 1])
    with pytest.raises(dg.Failure, match="tiny/layer_scores is not run"):
        require_passed(instance, of, "layer_scores", [1])
    assert {check.name for check in unproven(instance, of, ["adapters"])} == {"weights_changed"}
    trained.record(1)
    assert trained.judged() == (True, 2)
    require_passed(instance, of, "logits", [0, 1])
    assert unproven(instance, of, ["adapters"]) == []


def test_of_two_answers_to_one_question_the_later_one_counts(instance: dg.DagsterInstance) -> None:
    of = study(TABLE)

    def answer(asset: str, *, passed: bool) -> None:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key(of, asset), check_name="labels_tokenizable", passed=passed, description="so", blocking=True
            )
        )  # fmt: skip

    answer("base_model", passed=False)
    with pytest.raises(dg.Failure, match="base_model, labels_tokenizable: so"):
        require_passed(instance, of, "adapters", [0])
    answer("samples", passed=True)
    require_passed(instance, of, "adapters", [0])
    answer("samples", passed=False)
    with pytest.raises(dg.Failure, match="samples, labels_tokenizable: so"):
        require_passed(instance, of, "adapters", [0])


def test_a_base_model_that_is_not_there_yet_is_judged_by_its_own_check(
    warehouse: Path, instance: dg.DagsterInstance
) -> None:
    of = study(CITIES)
    assert run(of, instance, ["raw_dataset", "samples"]).success
    found = check(of, instance, "samples", "labels_tokenizable")
    assert found.passed
    assert str(found.description).startswith("not judged: the base model, which the study makes itself")


def test_every_check_that_judges_seeds_since_it_passed_says_up_to_where(
    warehouse: Path, instance: dg.DagsterInstance
) -> None:
    trained = Trained(warehouse, instance)
    trained.record(0)
    names = [each.name for each in study_checks(trained.study) if each.asset == "adapters"]
    for name in names:
        assert check(trained.study, instance, "adapters", name).metadata[JUDGED_UP_TO].value
