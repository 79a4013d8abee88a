"""Do warehouse and Dagster say the same of where rows come from? The comparison, and the asset check of real runs."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from memo_assets.assets.check_list import PROVENANCE
from memo_assets.assets.provenance_check import compared
from memo_assets.checks.provenance import provenance_agrees
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.store.layout import Layout
from memo_assets.store.load import load_samples
from memo_assets.store.provenance import Provenance, record_provenance
from memo_assets.store.schema import TABLES, tables_of
from memo_assets.store.tables import publish, reading
from memo_assets_tests.studies import DIGITS, TABLE, study

MADE = Provenance("shadow_logits", "run-1", "code-1", "data-1", {"samples": "s-1", "logits": "l-1"})
PAIR = ("logits", "checkpoints")
LOADS: dict[tuple[str, str | None], Provenance] = {
    (table, block): MADE for table in PAIR for block in ("000-001", "002-003")
}
RECORDED: dict[str | None, Provenance] = {"000-001": MADE, "002-003": MADE}


def test_the_same_on_both_sides_passes() -> None:
    found = provenance_agrees(PAIR, LOADS, RECORDED)
    assert found.passed
    assert found.sentence == "4 loads agree with Dagster's record: logits, checkpoints"
    assert found.facts == {"loads": 4}
    assert provenance_agrees(PAIR, {}, {}).passed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run_id": "run-2"}, "run_id run-2 (recorded: run-1)"),
        ({"code_version": "code-2"}, "code_version code-2 (recorded: code-1)"),
        ({"data_version": "data-2"}, "data_version data-2 (recorded: data-1)"),
        ({"asset": "logits"}, "asset logits (recorded: shadow_logits)"),
        (
            {"input_versions": {"samples": "s-2", "logits": "l-1"}},
            "input samples s-2 (recorded: s-1)",
        ),
        ({"input_versions": {"samples": "s-1"}}, "input logits missing (recorded: l-1)"),
        (
            {"input_versions": {**MADE.input_versions, "source": "x"}, "run_id": "run-2"},
            "run_id run-2 (recorded: run-1), input source x (recorded: none)",
        ),
    ],
)
def test_what_differs_is_named(changes: dict, words: str) -> None:
    loads = {**LOADS, ("checkpoints", "002-003"): replace(MADE, **changes)}
    found = provenance_agrees(PAIR, loads, RECORDED)
    assert not found.passed
    assert found.facts == {"loads": 4, "differences": [f"checkpoints 002-003: {words}"]}
    assert f"checkpoints 002-003: {words}. Materialize this asset again" in found.sentence


def test_what_only_one_side_knows_is_named() -> None:
    loads = {place: made for place, made in LOADS.items() if place != ("logits", "000-001")}
    found = provenance_agrees(PAIR, loads, RECORDED)
    assert found.facts["differences"] == [
        "logits 000-001: no provenance in the warehouse, recorded by run run-1"
    ]
    found = provenance_agrees(("samples",), {("samples", None): MADE}, {})
    assert found.facts["differences"] == ["samples: loaded by run run-1, of which Dagster has no record"]


def test_a_long_list_is_cut_in_the_sentence_alone() -> None:
    recorded: dict[str | None, Provenance] = {f"{seed:03d}-{seed:03d}": MADE for seed in range(4)}
    found = provenance_agrees(PAIR, {}, recorded)
    assert len(found.facts["differences"]) == 8
    assert found.sentence.count("recorded by run") == 5
    assert "; 3 more. Materialize" in found.sentence


def materialize(of: Study, instance: dg.DagsterInstance, *names: str) -> dg.ExecuteInProcessResult:
    keys = [dg.AssetKey([of.name, name]) for name in names]
    job = build_defs([of]).resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    result = job.execute_in_process(instance=instance, asset_selection=keys)
    assert result.success
    return result


def verdict(result: dg.ExecuteInProcessResult) -> tuple[bool, str]:
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == PROVENANCE]
    assert found.severity == dg.AssetCheckSeverity.WARN
    return found.passed, found.description or ""


def rows() -> list[tuple]:
    with reading() as connection:
        return connection.execute("SELECT run_id, data_version, input_versions FROM provenance").fetchall()


def test_every_asset_that_fills_tables_has_the_check() -> None:
    graph = build_defs([study(TABLE, {"data.choices": "choices"})]).resolve_asset_graph()
    checked = {key.asset_key.path[-1] for key in graph.asset_check_keys if key.name == PROVENANCE}
    assert checked == {table.asset for table in TABLES.values()} - {""}
    assert {table for name in checked for table in tables_of(name)} == set(TABLES) - {
        "provenance",
        "mitigation_comparison",
    }


def test_real_runs_agree_and_what_was_loaded_behind_dagsters_back_is_named(warehouse: Path) -> None:
    digits = study(DIGITS)
    key = dg.AssetKey(["tiny", "samples"])
    with dg.DagsterInstance.ephemeral() as instance:
        first = materialize(digits, instance, "raw_dataset", "samples")
        assert verdict(first) == (True, "1 load agrees with Dagster's record: samples")
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        tags = event.asset_materialization.tags or {}
        raw = tags["dagster/input_data_version/tiny/raw_dataset"]
        ((run, version, inputs),) = rows()
        assert (run, version, inputs["raw_dataset"]) == (first.run_id, tags["dagster/data_version"], raw)

        again = materialize(digits, instance, "samples")
        assert verdict(again)[0]
        assert rows() == [
            (again.run_id, version, inputs)
        ]  # the row is replaced, and all but the run is the same

        with publish() as connection:  # what a run leaves that ended before its event
            made = Provenance("samples", "a-dead-run", "none", version, inputs)
            record_provenance(
                connection, "tiny", made, {"samples": load_samples(connection, Layout.of("tiny"))}
            )
        found = compared(instance, digits, "samples")
        assert not found.passed
        assert f"samples: run_id a-dead-run (recorded: {again.run_id}), code_version none" in found.sentence

        with publish() as connection:  # rows of before there was provenance
            connection.execute("DELETE FROM provenance")
        assert "no provenance in the warehouse" in compared(instance, digits, "samples").sentence
        assert verdict(materialize(digits, instance, "samples"))[0]

        instance.wipe_assets([key])
        assert "of which Dagster has no record" in compared(instance, digits, "samples").sentence
