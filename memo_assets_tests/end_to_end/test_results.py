"""What the two studies leave in the warehouse, checked against the method and against independent packages.

The README's SQL runs here too, as printed: one file, so that the studies are run once however tests are spread.
"""

import json
import re
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

from memo_assets.analysis.facts import facts, results
from memo_assets.analysis.frames import Subject
from memo_assets.analysis.skewness import BINS, subset_sizes
from memo_assets.assets import comparison, mitigations
from memo_assets.assets.check_list import study_checks
from memo_assets.assets.check_records import Status
from memo_assets.assets.provenance_check import compared
from memo_assets.assets.spec import blocks
from memo_assets.cli import app
from memo_assets.config import Study
from memo_assets.config.sweep import Sweep
from memo_assets.definitions import build_defs
from memo_assets.graph import FIGURES, steps
from memo_assets.instance import open_instance
from memo_assets.measures.attacks import ATTACKS
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.measures.lira import log_lira
from memo_assets.measures.skewness import MEASURES
from memo_assets.measures.stability import sizes
from memo_assets.pipeline import run_comparison
from memo_assets.status import study_state
from memo_assets.store.layout import Layout
from memo_assets.store.matrices import membership, shadows_at
from memo_assets.store.schema import TABLES, tables_of
from memo_assets.store.tables import publish, reading
from memo_assets.study_file import load_studies
from memo_assets.study_sweep import variants
from memo_assets_tests.end_to_end.conftest import Platform, changed, stale_causes

pytestmark = pytest.mark.slow
README = Path(__file__).parents[2] / "README.md"
QUERIES = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
STUDIES = ["digits", "cities"]


def query(sql: str, *values: object) -> pd.DataFrame:
    with reading() as connection:
        return connection.execute(sql, list(values)).df()


@pytest.mark.parametrize("name", STUDIES)
def test_every_table_has_all_rows_once(platform: Platform, name: str):
    study = platform.studies[name]
    n = query("SELECT count(*) AS n FROM samples WHERE study = ?", name)["n"][0]
    pool = query("SELECT count(*) AS n FROM samples WHERE study = ? AND part = 'pool'", name)["n"][0]
    train = int(study.shadows.train_share * pool)
    epochs, models = len(study.training.checkpoints), study.shadows.models
    assert study.model.kind == "tiny_llama" or study.model.kind == "mlp"  # noqa: PLR1714 - the type checker reads this
    n_layers = study.model.layers
    per_layer = sum(predictor.per_layer for predictor in PREDICTORS.values())
    scores = per_layer * n_layers + len(PREDICTORS) - per_layer
    if study.lora is None:
        matrices = n_layers + 1 + 1  # the output layer, and all together
    else:
        matrices = 3 * (sum(1 if target == "lm_head" else n_layers for target in study.lora.targets) + 1)
    # Checkpoints of single models, where they met their trigger: of all models, and of the audited one.
    own = query(
        """
        SELECT count(*) AS models, count(*) FILTER (split_seed = 0) AS audited FROM checkpoints
        WHERE study = ? AND is_trigger AND NOT list_contains(?, epoch)
        """,
        name,
        study.training.checkpoints,
    ).iloc[0]
    more, audited = int(own["models"]), int(own["audited"])
    assert (more > 0) == (study.training.trigger is not None)
    by_epoch = scores * epochs + (scores - 1) * audited  # no early log-LiRA at a checkpoint of one model
    bins = query(
        "SELECT count(DISTINCT value) AS n FROM memorization_skewness WHERE study = ? AND over = 'similarity'",
        name,
    )["n"][0]
    assert 1 < bins <= BINS
    # Models of a block that met their triggers at the same step share a checkpoint.
    places = sum(
        len(
            query(
                "SELECT DISTINCT epoch FROM checkpoints WHERE study = ? AND list_contains(?, split_seed)",
                name,
                seeds,
            )
        )
        for seeds in blocks(study).values()
    )
    assert places >= len(blocks(study)) * epochs
    expected = {
        "samples": n,
        "split_masks": models * train,
        "checkpoints": models * epochs + more,
        "logits": (models * epochs + more) * n,
        "logit_moments": places * n,
        "at_risk": pool,
        "memorization": train * epochs,
        "memorization_scores": len(ATTACKS) * train * epochs,
        "label_stability": 30 * sum(len(tried) for tried in sizes(models - 1).values()),
        "memorization_skewness": len(MEASURES) * (epochs + len(subset_sizes(train)) + bins),
        "answer_variation": 0,  # the options of both studies are the labels themselves
        "answer_variation_summary": 0,
        "population_memorization": pool * epochs,
        "predictor_scores": by_epoch * train,
        "layer_summary": 4 * n_layers * (epochs + audited),
        "weight_norms": 4 * matrices * (epochs + audited),
        "predictor_evaluation": by_epoch,
        "mitigation_comparison": 0,  # the study has no protected variants
        "provenance": len(TABLES) - 8 + 4 * len(blocks(study)),
    }
    assert set(expected) == set(TABLES)
    for table, rows in expected.items():
        key = ", ".join(TABLES[table].key)
        found = query(
            f"SELECT count(*) AS n, (SELECT count(*) FROM (SELECT DISTINCT {key} FROM {table} WHERE study = $1)) AS keys "
            f"FROM {table} WHERE study = $1",
            name,
        )
        assert (found["n"][0], found["keys"][0]) == (rows, rows), table


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_is_of_a_load_that_dagster_recorded(platform: Platform, name: str):
    study = platform.studies[name]
    load_query = "SELECT split_seeds, row_count, run_id FROM provenance WHERE study = ? AND table_name = ?"
    with reading() as connection:
        for table in TABLES.keys() - {"provenance"}:
            counted = 0
            for seeds, rows, run in connection.execute(load_query, [name, table]).fetchall():
                seed = "first_seed" if table == "logit_moments" else "split_seed"
                of_block = "" if seeds is None else f" AND list_contains(?, {seed})"
                values = [name] if seeds is None else [name, seeds]
                found = connection.execute(f"SELECT count(*) FROM {table} WHERE study = ?{of_block}", values)
                assert found.fetchone() == (rows,), table
                assert platform.instance.has_run(run)
                counted += rows
            assert connection.execute(f"SELECT count(*) FROM {table} WHERE study = ?", [name]).fetchone() == (
                counted,
            )
    for asset in {table.asset for table in TABLES.values()} & set(steps(study)):
        found = compared(platform.instance, study, asset)
        assert found.passed, found.sentence
        assert found.facts["loads"] == len(tables_of(asset)) * (
            len(blocks(study)) if asset == "shadow_logits" else 1
        )


def test_a_block_of_another_version_than_recorded_is_named(platform: Platform, own_copy: Path):
    digits = platform.studies["digits"]
    with publish() as connection:
        connection.execute(
            "UPDATE provenance SET input_versions = MAP {'samples': 'x'} WHERE study = 'digits' AND block = '017-033' "
            "AND table_name = 'logits'"
        )
    found = compared(platform.instance, digits, "shadow_logits")
    assert not found.passed
    (difference,) = found.facts["differences"]
    assert difference.startswith("logits 017-033: input samples x (recorded: ")
    assert "input split_masks missing (recorded: " in difference
    assert compared(platform.instance, platform.studies["cities"], "shadow_logits").passed


@pytest.mark.parametrize("name", STUDIES)
def test_labels_and_predictors_are_sane(platform: Platform, name: str):
    study = platform.studies[name]
    with reading() as connection:
        subject = Subject(connection, study, 0)
        known, table = facts(subject), results(subject)
        assert subject.prediction_epoch is not None
    assert known.loss_at_end < 0.05 * known.loss_at_start
    assert known.test_accuracy > 0.75
    assert known.wrong_in_top is not None
    assert known.wrong_in_top > 0.3, "wrong labels are not enriched among the top 10 %"
    if study.canaries is not None:
        assert known.canaries_in_top is not None
        assert known.canaries_in_top > 0.3, "canaries are not enriched among the top 10 %"
    last = table[table["is_last_layer"]]
    auc = dict(zip(last["predictor"], last["auc"].to_list(), strict=True))
    assert auc["psmi"] > 0.7
    assert auc["loss"] > 0.7
    assert 0.4 < auc["random"] < 0.6


@pytest.mark.parametrize("name", STUDIES)
def test_log_lira_equals_scipy_on_the_tables(platform: Platform, name: str):
    study = platform.studies[name]
    epoch = study.training.checkpoints[-1]
    rows = query(
        """
        SELECT l.split_seed, l.sample_id, l.logit_gap::DOUBLE AS gap, m.sample_id IS NOT NULL AS inside
        FROM logits l LEFT JOIN split_masks m USING (study, split_seed, sample_id)
        WHERE l.study = ? AND l.epoch = ?
        """,
        name,
        epoch,
    )
    labels = query(
        "SELECT sample_id, log_lira FROM memorization WHERE study = ? AND epoch = ? AND target_seed = 0 "
        "ORDER BY sample_id LIMIT 50",
        name,
        epoch,
    )
    for sample, expected in labels.itertuples(index=False):
        own = rows[rows["sample_id"] == sample]
        target = own.loc[own["split_seed"] == 0, "gap"].item()
        others = own[own["split_seed"] != 0]
        inside, outside = (others.loc[others["inside"] == flag, "gap"].to_numpy() for flag in (True, False))
        by_hand = norm.logpdf(target, inside.mean(), inside.std()) - norm.logpdf(
            target, outside.mean(), outside.std()
        )
        assert by_hand == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", STUDIES)
def test_log_lira_in_sql_is_that_of_the_labels_and_of_models_that_are_not_audited(
    platform: Platform, name: str
):
    study = platform.studies[name]
    found = query(
        """
        SELECT m.log_lira AS label, s.log_lira, m.n_in = s.n_in AND m.n_out = s.n_out AS same_models
        FROM memorization m JOIN log_lira_of(?, 0) s USING (epoch, sample_id)
        WHERE study = ? AND target_seed = 0 AND epoch > 0
        """,
        name,
        name,
    )
    assert (
        len(found)
        == query("SELECT count(*) AS n FROM memorization WHERE study = ? AND epoch > 0", name)["n"][0]
    )
    assert found["same_models"].all()
    np.testing.assert_allclose(found["log_lira"], found["label"], rtol=1e-9, atol=1e-9)
    epoch, other = study.training.checkpoints[-1], 5
    with reading() as connection:
        models = study.shadows.models
        gaps = shadows_at(connection, name, epoch, models).gaps
        inside = membership(connection, name, models)
        own = connection.execute(
            "SELECT log_lira FROM log_lira_of(?, ?) WHERE epoch = ? ORDER BY sample_id", [name, other, epoch]
        ).df()["log_lira"]
    # With few models a group may have a single one, so no spread and no score: null here, nan there.
    expected = log_lira(gaps, inside, other)[inside[other]]
    np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-9)


def test_logits_are_those_of_the_adapter_under_peft(platform: Platform):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    study = platform.studies["cities"]
    layout = Layout.of("cities")
    seed, epoch = 5, study.training.checkpoints[-1]
    base = layout.base_models / json.loads(layout.base_model.read_text())["folder"]
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), layout.adapter(seed, epoch)
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = query(
        """
        SELECT s.prompt, s.options, l.option_logits FROM logits l JOIN samples s USING (study, sample_id)
        WHERE study = 'cities' AND split_seed = ? AND epoch = ? ORDER BY sample_id LIMIT 20
        """,
        seed,
        epoch,
    )
    for prompt, options, expected in rows.itertuples(index=False):
        tokens = [tokenizer(f"{prompt} {option}", return_offsets_mapping=True) for option in options]
        first = next(i for i, (_, end) in enumerate(tokens[0]["offset_mapping"]) if end > len(prompt) + 1)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens[0]["input_ids"][:first]])).logits[0, -1]
        ours = [logits[encoded["input_ids"][first]].item() for encoded in tokens]
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_untrained_adapters_are_the_base_model_asked_once(platform: Platform):
    differing = query(
        "SELECT sample_id FROM logits WHERE study = 'cities' AND epoch = 0 GROUP BY sample_id "
        "HAVING count(DISTINCT loss) > 1 OR count(DISTINCT option_logits) > 1"
    )
    assert differing.empty
    layout = Layout.of("cities")
    samples = query("SELECT count(*) AS n FROM samples WHERE study = 'cities'")["n"][0]
    [file] = layout.base_outputs("any").parent.iterdir()
    assert pq.read_metadata(file).num_rows == samples


def test_nothing_is_left_to_do(platform: Platform):
    for study in platform.studies.values():
        assert platform.run(study) == 0
        states = study_state(study, platform.definitions, platform.instance)
        assert all(not state.todo for state in states)


def test_every_seed_was_recorded_with_its_facts(platform: Platform):
    for name, study in platform.studies.items():
        for seed in study.seeds:
            assert (name, "adapters", str(seed)) in platform.recorder.done
        event = platform.instance.get_latest_materialization_event(dg.AssetKey([name, "logits"]))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert {"train_accuracy", "test_accuracy", "seconds", "peak_memory_mb"} <= set(metadata)
        assert event.asset_materialization.tags is not None
        assert "dagster/data_version" in event.asset_materialization.tags


@pytest.mark.parametrize("name", STUDIES)
def test_figures_and_report_are_written(platform: Platform, name: str):
    layout = Layout.of(name)
    for figure in (name_ for name_ in steps(platform.studies[name]) if name_ in FIGURES):
        assert layout.figure(figure, "png").read_bytes()[:4] == b"\x89PNG"
        assert "plotly" in layout.figure(figure, "html").read_text()
        event = platform.instance.get_latest_materialization_event(dg.AssetKey([name, figure]))
        assert event is not None
        assert event.asset_materialization is not None
        assert "data:image/png;base64" in str(event.asset_materialization.metadata["picture"].value)
    report = layout.report.read_text()
    assert platform.studies[name].title in report
    assert "PSMI" in report


def test_studies_are_compared(platform: Platform):
    shown = CliRunner().invoke(app, ["compare"])
    assert shown.exit_code == 0, shown.output
    assert "digits" in shown.output
    assert "cities" in shown.output
    layout = Layout.of("comparison")
    for figure, upstream in comparison.UPSTREAM.items():
        assert layout.figure(figure, "png").read_bytes()[:4] == b"\x89PNG"
        parents = platform.definitions.resolve_asset_graph().get(comparison.figure_key(figure)).parent_keys
        table = {mitigations.KEY} if figure == "figure_mitigations" else set()
        assert parents == {dg.AssetKey([study, name]) for study in STUDIES for name in upstream} | table
    page = layout.report.read_text(encoding="utf-8")
    assert f"2 of {len(load_studies())} studies have been evaluated" in page
    assert "0.073" in page
    assert "Swept values" in page
    key = comparison.figure_key("figure_predictors")
    versions = []
    for names in ([], ["digits"]):  # whichever are named, what is recorded is what the web UI would record
        assert CliRunner().invoke(app, ["compare", *names]).exit_code == 0
        event = platform.instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        versions.append((event.asset_materialization.tags or {})["dagster/code_version"])
    assert versions == [build_defs().resolve_asset_graph().get(key).code_version] * 2
    grid = json.loads(layout.figure("figure_roc_grid", "json").read_text())
    assert len({(curve["xaxis"], curve["yaxis"]) for curve in grid["data"]}) == 2 * 5


def test_the_comparison_is_stale_when_what_it_shows_has_changed(platform: Platform, own_copy: Path):
    digits, cities = (platform.studies[name] for name in STUDIES)
    sweep = Sweep.model_validate({"over": {"model.width": [32]}})
    variant = Study.model_validate(variants(digits.model_dump(), sweep)[0])
    definitions = build_defs([digits, variant, cities])
    with publish() as connection:
        for table in TABLES:
            rows = f"SELECT * REPLACE ('{variant.name}' AS study) FROM {table} WHERE study = 'digits'"
            connection.execute(f"INSERT INTO {table} BY NAME {rows}")
    with open_instance() as instance:
        run_comparison(definitions, instance)
        assert stale_causes(definitions, instance) == {}
        figure = json.loads(Layout.of("comparison").figure("figure_sweeps", "json").read_text())
        assert figure["layout"]["xaxis2"]["title"]["text"] == "model.width"

        with publish() as connection:
            connection.execute("UPDATE memorization SET memorized = NOT memorized WHERE study = 'digits'")
        key = dg.AssetKey(["digits", "predictor_evaluation"])
        job = definitions.resolve_implicit_job_def_def_for_assets([key])
        assert job is not None
        assert job.execute_in_process(instance=instance, asset_selection=[key]).success
        shown = {*comparison.FIGURES, comparison.REPORT} - {"figure_mitigations"}
        anew = "has a new dependency data version (digits/predictor_evaluation)"
        assert stale_causes(definitions, instance) == dict.fromkeys(shown, anew)
        run_comparison(definitions, instance)
        assert stale_causes(definitions, instance) == {}

        stricter = build_defs([changed(digits, labels={"quantile": 0.8}), variant, cities])
        assert stale_causes(stricter, instance) == dict.fromkeys(shown, "has a new code version")
        smaller_packs = build_defs([changed(digits, compute={"pack": 3}), variant, cities])
        assert stale_causes(smaller_packs, instance) == {}


def test_progress_was_told(platform: Platform):
    units = {progress.unit for progress in platform.recorder.progress}
    assert {"steps", "checkpoints"} <= units


def test_logs_and_what_was_sent_were_told(platform: Platform):
    logs: dict[str, str] = {}
    for name, text in platform.recorder.logs:
        logs[name] = f"{logs.get(name, '')}{text}\n"
    assert "cities/base_model" in logs
    assert "cities/logits, seeds 8 to 15 (8)" in logs
    assert "epoch 12, step " in logs["digits/adapters, seeds 0 to 16 (17)"]
    assert "2 work items, 34 split seeds, on this machine" in platform.recorder.states


def test_there_are_eight_queries():
    assert len(QUERIES) == 9


@pytest.mark.parametrize("query", QUERIES)
def test_query_runs_as_printed(platform: Platform, query: str):
    result = CliRunner().invoke(app, ["sql", query, "--format", "json"])
    assert result.exit_code == 0, result.output
    assert result.output.count("{") >= 2


def test_every_predictor_is_explained():
    text = README.read_text(encoding="utf-8")
    for name, predictor in PREDICTORS.items():
        assert f"| `{name}` |" in text
        assert predictor.meaning in text


def test_paths_named_in_the_readme_exist():
    root = README.parent
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (root / path).exists(), path


def test_both_demo_studies_were_checked_and_only_scarce_models_are_warned_of(platform: Platform) -> None:
    for study in platform.studies.values():
        for check in study_checks(study):
            record = platform.instance.get_latest_asset_check_evaluation_record(check.key(study))
            assert record is not None, check
            assert record.evaluation is not None
            few = check.name == "enough_shadows" and study.shadows.models < 33
            assert (record.status == Status.SUCCEEDED) or few, record.evaluation.description
            assert not str(record.evaluation.description).startswith("not judged") or (
                check.asset == "samples" and check.name == "labels_tokenizable"
            )
    assert {(study, name) for study, name, _ in platform.recorder.warned} == {("cities", "memorization")}
