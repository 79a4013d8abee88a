"""The audit of a study as its assets make it: table, page, JSON, on digits with noise and canaries."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from memo_assets.audit import verify
from memo_assets.audit.of_study import at_risk_table
from memo_assets.definitions import build_defs
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets_tests.studies import DIGITS, study

CHANGES = {
    "data.items": 900,
    "noise.share": 0.1,
    "canaries": {"kind": "ood", "count": 30},
    "training.epochs": 20,
    "training.checkpoints": [0, 20],
    "model.width": 32,
    "scores.loss_drop": 0.9,
    "scores.psmi_directions": 100,
    "compute.device": "cpu",
}
ASSETS = ("raw_dataset", "samples", "audit", "at_risk", "audit_report")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    of = study(DIGITS, CHANGES)
    folder = tmp_path_factory.mktemp("warehouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMO_WAREHOUSE", str(folder))
        patch.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
        definitions = build_defs([of])
        job = definitions.resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            keys = [dg.AssetKey([of.name, name]) for name in ASSETS]
            done = job.execute_in_process(instance=instance, asset_selection=keys)
            assert done.success
            # Without a shadow model: no other asset was needed.
            assert {event.asset_key for event in done.get_asset_materialization_events()} == set(keys)
    return Layout(folder, of.name)


def test_report_and_table_agree_and_verify(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = verify(layout.audit_report)
    monkeypatch.setenv("MEMO_WAREHOUSE", str(layout.warehouse))
    with reading() as connection:
        table = connection.execute("SELECT * FROM at_risk ORDER BY rank").df()
    assert summary.risk.share.successes == int(table["flagged"].sum())
    assert summary.risk.share.trials == len(table)
    frame = pd.read_parquet(layout.audit_report / "at_risk.parquet")
    assert frame["sample_id"].tolist() == table["sample_id"].tolist()
    assert table["psmi"].is_monotonic_increasing
    page = (layout.audit_report / "report.html").read_text(encoding="utf-8")
    assert "are at risk of being memorized" in page


def test_noise_and_canaries_are_the_controls(layout: Layout) -> None:
    controls = {one.kind: one.flagged for one in verify(layout.audit_report).controls}
    assert set(controls) == {"wrong label", "canary", "label as given"}
    wrong, canary, other = (controls[kind].value for kind in ("wrong label", "canary", "label as given"))
    assert wrong is not None
    assert canary is not None
    assert other is not None
    assert wrong > 0.6 > other
    assert canary > other
    assert controls["canary"].trials == 30


def test_the_page_is_of_the_schema_that_is_documented(layout: Layout) -> None:
    schema = json.loads(
        (Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text(encoding="utf-8")
    )
    content = json.loads((layout.audit_report / "audit.json").read_text(encoding="utf-8"))
    assert set(schema["required"]) <= set(content) <= set(schema["properties"])


def test_copies_and_neighbours_by_hand() -> None:
    samples = pd.DataFrame(
        {
            "sample_id": [3, 5, 9, 11],
            "text": ["the blue house", "the blue house", "a red car stops", "the blue houses"],
            "options": [["a", "b"]] * 4,
        }
    )
    scores = pd.DataFrame(
        {"sample_id": [3, 5, 9, 11], "flagged": [False, True, False, False], "psmi": [0.3, -0.1, np.nan, 0.2],
         "suspected_index": [-1, 1, -1, 0]}
    )  # fmt: skip
    table = at_risk_table(samples, scores, 0)
    assert table["sample_id"].tolist() == [5, 11, 3, 9]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["copies"].tolist() == [1, 0, 1, 0]
    assert table["nearest"].tolist()[0] == 3
    assert table["suspected_label"].tolist() == ["b", "a", None, None]
