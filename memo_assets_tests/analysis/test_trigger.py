"""A study with a trigger in the warehouse: eight small models, most with a checkpoint of their own.

Of the audited models 0 and 2 meet their triggers between checkpoints of the recipe, model 1 never.
"""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest

from memo_assets.analysis import facts, frames
from memo_assets.analysis.comparison import Comparison
from memo_assets.analysis.evaluation import predictor_evaluation
from memo_assets.analysis.frames import Subject
from memo_assets.analysis.labels import memorization, population_memorization
from memo_assets.analysis.predictors import (
    layer_summaries,
    predictor_scores,
    target_prediction_epoch,
    weight_norms,
)
from memo_assets.analysis.stability import label_stability
from memo_assets.compute.steps import STEPS
from memo_assets.config import GpuStep, Study
from memo_assets.measures.catalog import PREDICTORS
from memo_assets.store.load import load_block, load_samples
from memo_assets.store.schema import ddl
from memo_assets.store.tables import WarehouseError
from memo_assets.study_figures import figures_of
from memo_assets_tests.compute.small_items import item, small_study, write_inputs

SEEDS, AUDITED = list(range(8)), [0, 1, 2]
TRIGGERS = {0: 1.8, 2: 1.4}
REGULAR = [0.0, 1.0, 2.0]


def with_trigger() -> Study:
    return small_study(
        {
            "training.trigger": {"window": 12, "drop": 0.05},
            "shadows.models": len(SEEDS),
            "shadows.audited": AUDITED,
        }
    )


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pd.DataFrame) -> None:
    connection.register("given", rows.assign(study="tiny"))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM given")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """All tables of the study, in a warehouse in memory."""
    study, folder = with_trigger(), tmp_path_factory.mktemp("warehouse")
    layout = write_inputs(folder, study)
    steps: list[tuple[GpuStep, list[int]]] = [
        ("adapters", SEEDS),
        ("logits", SEEDS),
        ("layer_scores", AUDITED),
    ]
    for step, seeds in steps:
        STEPS[step](item(folder, study, step, seeds), lambda *_: None, lambda: False)
    with duckdb.connect() as made:
        for statement in ddl():
            made.execute(statement)
        load_samples(made, layout)
        load_block(made, layout, SEEDS)
        labels, scores = memorization(made, study)
        insert(made, "memorization", labels)
        insert(made, "memorization_scores", scores)
        insert(made, "population_memorization", population_memorization(made, study))
        insert(made, "label_stability", label_stability(made, study))
        insert(made, "layer_summary", layer_summaries(layout, AUDITED))
        insert(made, "weight_norms", weight_norms(layout, AUDITED))
        for target in AUDITED:
            found = predictor_scores(made, study, target, layout.layer_scores(target))
            insert(made, "predictor_scores", found.assign(target_seed=target))
        for target in AUDITED:
            judged = predictor_evaluation(made, study, target)
            insert(made, "predictor_evaluation", judged.assign(target_seed=target))
        yield made


def column(connection: duckdb.DuckDBPyConnection, query: str, **values: object) -> list:
    return [row[0] for row in connection.execute(query, values or None).fetchall()]


def test_the_prediction_epoch_of_a_model_is_that_of_its_own_trigger(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    study = with_trigger()
    found = {target: target_prediction_epoch(connection, study, target) for target in AUDITED}
    assert found == {0: 1.8, 1: None, 2: 1.4}
    marked = (
        "SELECT DISTINCT target_seed, epoch FROM predictor_evaluation WHERE is_prediction_epoch ORDER BY 1"
    )
    assert connection.execute(marked).fetchall() == [*TRIGGERS.items()]
    assert [Subject(connection, study, target).judged_epoch for target in AUDITED] == [1.8, 2.0, 1.4]
    assert set(Comparison.of(connection, [study]).judged(study)["epoch"]) == {1.8}
    with pytest.raises(WarehouseError, match="no checkpoints of split seed 99 in the warehouse; materialize"):
        target_prediction_epoch(connection, study, 99)


def test_a_trigger_at_a_checkpoint_of_the_recipe_is_found_as_well() -> None:
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        rows = {"split_seed": 0, "epoch": REGULAR, "is_trigger": [None, True, None]}
        insert(connection, "checkpoints", pd.DataFrame(rows))
        assert target_prediction_epoch(connection, with_trigger(), 0) == 1.0


def test_labels_and_measures_of_all_models_stand_at_checkpoints_of_the_recipe(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    extra = column(connection, "SELECT epoch FROM checkpoints WHERE is_trigger ORDER BY 1")
    assert len(extra) > len(TRIGGERS)  # some of models that are not audited
    assert not set(extra) <= set(REGULAR)
    for table in ("memorization", "memorization_scores", "population_memorization", "population_psmi"):
        assert column(connection, f"SELECT DISTINCT epoch FROM {table} ORDER BY 1") == REGULAR, table
    # As if there were no others.
    with duckdb.connect() as without:
        for statement in ddl():
            without.execute(statement)
        for table in ("samples", "split_masks", "logits"):
            rows = connection.execute(f"FROM {table}").df()
            if table == "logits":
                rows = rows[rows["epoch"].isin(REGULAR)]
            insert(without, table, rows)
        labels, _ = memorization(without, with_trigger())
        insert(without, "label_stability", label_stability(without, with_trigger()))
        kept = connection.execute("FROM memorization ORDER BY target_seed, epoch, sample_id").df()
        np.testing.assert_array_equal(kept["log_lira"], labels["log_lira"])
        np.testing.assert_array_equal(kept["memorized"], labels["memorized"])
        order = "ORDER BY target_seed, comparison, n_shadows, draw"
        kept = connection.execute(f"SELECT agreement FROM label_stability {order}").df()
        wanted = without.execute(f"SELECT agreement FROM label_stability {order}").df()
        assert len(kept)
        np.testing.assert_array_equal(kept, wanted)


def test_a_checkpoint_of_the_recipe_that_is_not_there_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    study = with_trigger()
    later = study.model_copy(
        update={"training": study.training.model_copy(update={"checkpoints": [0.0, 1.0, 1.5, 2.0]})}
    )
    for compute in (memorization, population_memorization):
        with pytest.raises(WarehouseError, match=r"study tiny, epoch 1.5: seeds \[0, 1, 2"):
            compute(connection, later)


def test_predictors_at_the_trigger_see_the_checkpoints_up_to_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for target, trigger in TRIGGERS.items():
        at_trigger = (
            "SELECT DISTINCT predictor FROM predictor_scores WHERE target_seed = $target AND epoch = $epoch"
        )
        found = column(connection, at_trigger, target=target, epoch=trigger)
        assert {*found} == {*PREDICTORS} - {"early_log_lira"}  # which needs the other models there
        losses = connection.execute(
            "SELECT sample_id, epoch, loss::DOUBLE AS loss FROM logits JOIN split_masks USING (study, split_seed, sample_id) "
            "WHERE split_seed = ? AND epoch <= ?",
            [target, trigger],
        ).df()
        assert sorted(losses["epoch"].unique()) == [0, 1, trigger]
        scores = connection.execute(
            "SELECT sample_id, score FROM predictor_scores WHERE target_seed = ? AND epoch = ? "
            "AND predictor = 'cumulative_loss'",
            [target, trigger],
        ).df()
        summed = losses.groupby("sample_id")["loss"].sum()
        np.testing.assert_allclose(scores.set_index("sample_id")["score"].loc[summed.index], summed)


def test_curves_of_a_model_have_its_trigger_between_the_checkpoints(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    study = with_trigger()
    for target, epochs in ((0, [0.0, 1.0, 1.8, 2.0]), (1, REGULAR), (2, [0.0, 1.0, 1.4, 2.0])):
        subject = Subject(connection, study, target)
        curves = frames.training_curves(subject)
        assert curves.loc[curves["part"] == "test", "epoch"].tolist() == epochs
        assert frames.median_train_losses(subject)["epoch"].tolist() == epochs
        steps = column(
            connection,
            "SELECT step FROM training_measures WHERE split_seed = $target AND part = 'train' ORDER BY epoch",
            target=target,
        )
        assert steps == [round(5 * epoch) for epoch in epochs]
        known = facts.facts(subject)
        assert known.loss_at_end == float(curves.loc[curves["part"] == "train", "median_loss"].iloc[-1])


@pytest.mark.parametrize("target", AUDITED)
def test_every_figure_is_drawn_at_the_trigger_and_without_one(
    connection: duckdb.DuckDBPyConnection, target: int
) -> None:
    study = with_trigger()
    subject = Subject(connection, study, target)
    for entry in figures_of(study):
        entry.draw(subject).to_plotly_json()
    figure = next(entry for entry in figures_of(study) if entry.name == "figure_roc").draw(subject)
    when = {0: "at epoch 1.8, the", 1: "at epoch 2 (the loss never fell", 2: "at epoch 1.4, the"}[target]
    assert when in figure.to_plotly_json()["layout"]["title"]["text"]
