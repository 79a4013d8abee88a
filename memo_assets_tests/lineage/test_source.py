"""The source of a study: observed by itself, recorded by what reads it, and what changed in it is followed."""

from pathlib import Path

import dagster as dg
import pytest

from memo_assets.assets.source import last_observed, observe
from memo_assets.config import Study
from memo_assets.data import items
from memo_assets.data.origin import origin
from memo_assets.definitions import build_defs
from memo_assets.graph import code_versions, steps
from memo_assets.pipeline import RunFailed, stages
from memo_assets_tests.command_line import memo
from memo_assets_tests.lineage.cheap import Words, materialize, run, state_of, write_rows
from memo_assets_tests.studies import DIGITS
from memo_assets_tests.studies import study as make

BOTH = [("raw_dataset", None), ("samples", None)]
CHANGED = ("stale", "source has a new data version")


def version_of(study: Study) -> str:
    return origin(study.data, Path.cwd()).version


def recorded(study: Study, instance: dg.DagsterInstance, name: str) -> str | None:
    """Version of the source by the record of an asset."""
    event = instance.get_latest_materialization_event(dg.AssetKey([study.name, name]))
    assert event is not None
    assert event.asset_materialization is not None
    return (event.asset_materialization.tags or {}).get(f"dagster/input_data_version/{study.name}/source")


def observations(study: Study, instance: dg.DagsterInstance) -> int:
    key = dg.AssetKey([study.name, "source"])
    return len(instance.fetch_observations(key, limit=100).records)


def test_the_source_is_no_step(new: Study) -> None:
    assert "source" not in {
        *steps(new),
        *code_versions(new),
        *(name for stage in stages(new) for name in stage),
    }
    node = build_defs([new]).resolve_asset_graph().get(dg.AssetKey(["own", "source"]))
    assert node.is_observable
    assert node.code_version is None
    assert {key.path[-1] for key in node.child_keys} == {"raw_dataset", "samples"}


def test_rows_that_changed_are_followed_to_the_end(
    study: Study, instance: dg.DagsterInstance, table: Path
) -> None:
    words, first = Words(), version_of(study)
    assert recorded(study, instance, "raw_dataset") == recorded(study, instance, "samples") == first
    write_rows(table.parent, last="of another end")
    assert observe(study, instance) == ""
    assert state_of(study, instance) == dict.fromkeys(BOTH, CHANGED)
    made = run(study, words, instance)
    # Everything reads samples, which have changed; the split masks come out the same for as many samples as before.
    assert made[:2] == BOTH
    assert {name for name, _ in made} >= {
        "split_masks",
        "adapters",
        "logits",
        "shadow_logits",
        "memorization",
    }
    assert state_of(study, instance) == {}
    assert recorded(study, instance, "raw_dataset") == recorded(study, instance, "samples") != first
    assert run(study, words, instance) == []


def test_another_file_with_the_same_rows_redoes_what_reads_it_and_no_more(
    study: Study, instance: dg.DagsterInstance, table: Path
) -> None:
    text = table.read_text().replace("text,label", "text,label,note")
    table.write_text(text.replace(",a\n", ",a,\n").replace(",b\n", ",b,\n"))
    assert run(study, Words(), instance) == BOTH
    assert state_of(study, instance) == {}


def test_what_reads_the_source_records_the_version_it_has_read(
    new: Study, empty: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert materialize(
        new, Words(), empty, "raw_dataset"
    )  # as in the web UI: nobody observed anything before
    first = version_of(new)
    assert recorded(new, empty, "raw_dataset") == first
    assert ("raw_dataset", None) not in state_of(new, empty)
    assert observe(new, empty) == ""
    assert ("raw_dataset", None) not in state_of(new, empty)
    write_rows(tmp_path, rows=50)
    assert materialize(new, Words(), empty, "raw_dataset")
    assert recorded(new, empty, "raw_dataset") == version_of(new) != first
    assert observe(new, empty) == ""
    assert ("raw_dataset", None) not in state_of(new, empty)
    event = empty.get_latest_materialization_event(dg.AssetKey(["own", "raw_dataset"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["source_version"].value == version_of(new)


def test_a_source_that_changes_while_it_is_read_is_not_recorded(
    new: Study, empty: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = items.load_items

    def load(*arguments: object) -> items.Items:
        found = real(*arguments)  # pyright: ignore[reportArgumentType]
        write_rows(tmp_path, rows=50)
        return found

    monkeypatch.setattr(items, "load_items", load)
    with pytest.raises(RunFailed, match=r"^own/raw_dataset: study own: .*rows.csv changed while it was read"):
        run(new, Words(), empty)
    assert state_of(new, empty)["raw_dataset", None][0] == "failed"


def test_a_file_that_is_gone_is_told_and_what_was_made_of_it_stays(
    folder: Path, study: Study, instance: dg.DagsterInstance, table: Path
) -> None:
    table.unlink()
    assert run(study, Words(), instance) == []
    shown = memo("status", str(folder), width=250)
    assert shown.exit_code == 0
    (line,) = [line for line in shown.stdout.splitlines() if "│ source " in line]
    assert f"no file {table}: data.path = " in line


def test_a_file_that_is_not_there_is_one_error(new: Study, empty: dg.DagsterInstance, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.unlink()
    with pytest.raises(RunFailed) as failure:
        run(new, Words(), empty)
    told = f"own/raw_dataset: no file {path}: data.path = '{path}' is looked up from {Path.cwd()}"
    assert str(failure.value) == told
    assert empty.get_runs_count() == 0  # nothing was begun
    assert not materialize(new, Words(), empty, "raw_dataset")
    assert f"failed: no file {path}" in state_of(new, empty)["raw_dataset", None][1]


def test_the_same_is_recorded_once(
    new: Study, empty: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memo_assets.data.origin._SETTLED_SECONDS", 3600.0)
    for _ in range(2):
        assert observe(new, empty) == ""
    assert observations(new, empty) == 1
    found = last_observed(new, empty)
    assert found is not None
    assert (found.version, found.fingerprint) == (version_of(new), "")  # it was written this moment
    monkeypatch.setattr("memo_assets.data.origin._SETTLED_SECONDS", -60.0)
    for _ in range(2):
        assert observe(new, empty) == ""
    assert observations(new, empty) == 2
    assert last_observed(new, empty) == origin(new.data, Path.cwd())


def test_the_sensor_records_what_changed_and_counts_what_is_not_there(
    new: Study, empty: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memo_assets.data.origin._SETTLED_SECONDS", -60.0)
    definitions = build_defs([new, make(DIGITS)])
    sensor = definitions.resolve_sensor_def("sources")

    def tick() -> tuple[int, str | None]:
        with dg.build_sensor_context(empty, definitions=definitions) as context:
            found = sensor.evaluate_tick(context)
        assert not found.run_requests
        for event in found.asset_events:
            assert isinstance(event, dg.AssetObservation)
            empty.report_runless_asset_event(event)
        return len(found.asset_events), found.skip_message

    assert tick() == (2, "2 of 2 sources recorded anew; 0 more are not on this machine")
    assert tick() == (0, "0 of 2 sources recorded anew; 0 more are not on this machine")
    path = write_rows(tmp_path, rows=44)
    assert tick()[0] == 1
    path.unlink()
    assert tick() == (0, "0 of 1 sources recorded anew; 1 more are not on this machine")


def test_it_can_be_observed_by_hand(new: Study, empty: dg.DagsterInstance, tmp_path: Path) -> None:
    """The button of the web UI."""
    assert materialize(new, Words(), empty, "source")
    found = last_observed(new, empty)
    assert found is not None
    assert found.version == version_of(new)
    (tmp_path / "rows.csv").unlink()
    assert not materialize(new, Words(), empty, "source")
    assert observations(new, empty) == 1
