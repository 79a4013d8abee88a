"""The graph of all studies is the one that was reviewed, and the text that is reviewed shows all of it."""

import difflib

import dagster as dg
import pytest

from memo_assets.definitions import build_defs
from memo_assets_tests.graph_snapshot import COMMAND, FILE, built_in_definitions, snapshot
from memo_assets_tests.studies import CITIES, DIGITS, study


def test_the_graph_is_as_it_was_reviewed() -> None:
    reviewed, loaded = FILE.read_text(encoding="utf-8"), snapshot(built_in_definitions())
    diff = difflib.unified_diff(reviewed.splitlines(), loaded.splitlines(), "reviewed", "loaded", lineterm="")
    assert reviewed == loaded, f"the graph has changed; if it should, run `{COMMAND}`:\n" + "\n".join(diff)


def test_studies_with_equal_assets_share_a_section() -> None:
    studies = [study(DIGITS), study(DIGITS, {"name": "larger", "shadows.models": 60}), study(CITIES)]
    text = snapshot(build_defs(studies))
    assert "\n== larger, tiny\n" in text
    assert "\n== towns\n" in text
    assert "partitions of larger: split_masks: seeds 0 to 59 (60); layer_scores: seed 0; shadow_logits: 000-024, 025-049, 050-059 with 25, 25, 10 of" in text  # fmt: skip
    assert "<- logits (static), samples, split_masks (static)" in text
    assert "<- adapters (identity), base_model, samples" in text
    assert "<- samples, shadow_logits (all)" in text
    assert "predictor_evaluation of larger, tiny, towns" in text


ADDED = dg.AssetKey(["tiny", "adapters"])


@dg.asset_check(asset=ADDED, name="trained", blocking=True)
def trained() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


JOB = dg.define_asset_job("redo_tiny", selection=dg.AssetSelection.keys("tiny/memorization", "tiny/report"))


@dg.op
def send() -> None:
    """An operation without assets."""


@dg.job(tags={"by": "hand"})
def mail() -> None:
    send()


@pytest.mark.parametrize(
    ("added", "lines"),
    [
        (dg.Definitions(asset_checks=[trained]), ["    check trained (blocking)"]),
        (dg.Definitions(jobs=[JOB, mail]), ["  redo_STUDY [tiny]: STUDY: memorization, report", "  mail: ops send; tag by=hand"]),
        (
            dg.Definitions(schedules=[dg.ScheduleDefinition("nights", cron_schedule="0 2 * * *", job=JOB)]),
            ["  nights: 0 2 * * * (UTC), stopped: redo_tiny", "  redo_STUDY [tiny]: STUDY: memorization, report"],
        ),
        (
            dg.Definitions(
                sensors=[dg.AutomationConditionSensorDefinition("need", target=dg.AssetSelection.groups("tiny"))]
            ),
            ["  need: auto_materialize, stopped, every 30 s, all that tiny makes, backfills"],
        ),
        (
            dg.Definitions(
                assets=[
                    dg.AssetSpec(
                        "more",
                        deps=[ADDED],
                        group_name="extra",
                        automation_condition=dg.AutomationCondition.missing()
                        & ~dg.AutomationCondition.any_deps_match(dg.AutomationCondition.in_progress()),
                    )
                ]
            ),
            ["== extra", "  more (external; condition C1)", "    <- adapters (all) of tiny"],
        ),
    ],
    ids=["check", "job", "schedule", "sensor", "condition"],
)  # fmt: skip
def test_whatever_is_added_shows(added: dg.Definitions, lines: list[str]) -> None:
    base = build_defs([study(DIGITS)])
    before = snapshot(base).splitlines()
    after = snapshot(dg.Definitions.merge(base, added)).splitlines()
    for line in lines:
        assert line not in before
        assert line in after
