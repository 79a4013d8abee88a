"""Tables as the database describes them, and views over a small study."""

import math
from pathlib import Path

import duckdb
import pytest
from sklearn.metrics import brier_score_loss

from memo_assets.graph import steps
from memo_assets.store.layout import Layout
from memo_assets.store.load import load_block, load_samples
from memo_assets.store.schema import TABLES, VIEWS, ddl, tables_of
from memo_assets.store.tables import publish, reading
from memo_assets_tests.studies import DIGITS, TABLE, study

from .small_study import write_study


@pytest.fixture
def filled(warehouse: Path) -> Path:
    layout = Layout(warehouse, "s")
    write_study(layout)
    with publish() as connection:
        load_samples(connection, layout)
        load_block(connection, layout, [0, 1])
    return warehouse


def ask(query: str, *values: object) -> list[tuple]:
    with reading() as connection:
        return connection.execute(query, list(values)).fetchall()


def test_tables_and_columns_are_those_described(filled: Path) -> None:
    found = ask("SELECT table_name FROM duckdb_tables() WHERE database_name = 'memo' ORDER BY 1")
    assert [name for (name,) in found] == sorted(TABLES)
    for table in TABLES.values():
        columns = ask("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", table.name)
        assert columns == [(column.name, column.type) for column in table.columns]


def test_views_and_their_columns_are_those_described(filled: Path) -> None:
    found = ask("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY 1")
    assert found == sorted((name, view.text) for name, view in VIEWS.items())
    for name, view in VIEWS.items():
        columns = ask(
            "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ?", name
        )
        assert columns == [(column.name, column.type, column.text) for column in view.columns]


def test_no_two_rows_of_a_view_share_its_key(filled: Path) -> None:
    for name, view in VIEWS.items():
        assert set(view.key) <= {column.name for column in view.columns}
        ((rows, keys),) = ask(f"SELECT count(*), count(DISTINCT ({', '.join(view.key)})) FROM {name}")
        assert rows == keys, name


def test_everything_bears_a_comment_in_the_database(filled: Path) -> None:
    tables = ask("SELECT table_name, comment FROM duckdb_tables() WHERE database_name = 'memo'")
    views = ask("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY 1")
    columns = ask(
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name IN (SELECT unnest(?))",
        [*TABLES, *VIEWS],
    )
    described = [*TABLES.values(), *VIEWS.values()]
    assert len(columns) == sum(len(one.columns) for one in described)
    for name, comment in [*tables, *views, *columns]:
        assert comment, name
        assert comment.endswith("."), name


def test_comments_name_the_key(filled: Path) -> None:
    (comment,) = ask("SELECT comment FROM duckdb_tables() WHERE table_name = 'logits'")
    assert comment[0].endswith("Asset: shadow_logits. Key: (study, split_seed, epoch, sample_id).")


def test_every_table_is_filled_by_an_asset_of_every_study_or_of_those_with_choices() -> None:
    assert tables_of("shadow_logits") == ("split_masks", "checkpoints", "logits", "logit_moments")
    assets = {table.asset for table in TABLES.values()} - {""}
    assert assets - set(steps(study(DIGITS))) == {"variation_summary"}
    assert assets <= set(steps(study(TABLE, {"data.choices": "choices"})))
    assert [table.name for table in TABLES.values() if not table.asset] == [
        "provenance",
        "mitigation_comparison",
    ]


def test_keys_are_columns_and_unique_in_the_database_where_there_is_an_index(filled: Path) -> None:
    found = ask(
        "SELECT table_name, constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    )
    assert {name: tuple(key) for name, key in found} == {
        table.name: table.key for table in TABLES.values() if table.indexed
    }
    for table in TABLES.values():
        assert set(table.key) <= {column.name for column in table.columns}


def test_the_statements_can_be_run_again() -> None:
    with duckdb.connect() as connection:
        for statement in [*ddl(), *ddl()]:
            connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (len(TABLES),)


def test_a_warehouse_of_an_earlier_version_gains_new_columns() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE memorization (study VARCHAR, target_seed INTEGER, epoch DOUBLE, sample_id BIGINT, "
            "log_lira DOUBLE, PRIMARY KEY (study, target_seed, epoch, sample_id))"
        )
        connection.execute("INSERT INTO memorization VALUES ('s', 0, 1, 2, 3)")
        for statement in ddl():
            connection.execute(statement)
        rows = connection.execute("SELECT log_lira, score FROM memorization").fetchall()
        columns = connection.execute("SELECT column_name FROM (DESCRIBE memorization)").fetchall()
    assert rows == [(3.0, None)]
    assert {name for (name,) in columns} == {column.name for column in TABLES["memorization"].columns}


def test_a_load_runs_the_statements_again_only_where_the_database_is_not_as_they_leave_it(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("memo_assets.store.schema.ddl", lambda: ran.append(ddl()) or ran[-1])
    with publish():
        pass
    assert ran == []
    for damage in (
        "DROP VIEW predictions",
        "ALTER TABLE logits DROP COLUMN loss",
        "CREATE OR REPLACE MACRO schema_version() AS 'of an earlier version'",
        "DROP MACRO schema_version",
    ):
        with publish() as connection:
            connection.execute(damage)
        ran.clear()
        with publish():
            pass
        assert len(ran) == 1, damage
        assert ask("SELECT count(*) FROM predictions, (SELECT loss FROM logits LIMIT 1)") != [(0,)], damage


def test_predictions(filled: Path) -> None:
    query = "SELECT sample_id, predicted_index, fits_given, is_correct FROM predictions WHERE split_seed = 0 AND epoch = ? ORDER BY 1"
    # Given labels are 1, 1, 2, 0, true ones 0, 1, 2, 0; at first every model answers with option 0.
    assert ask(query, 0) == [
        (0, 0, False, True),
        (1, 0, False, False),
        (2, 0, False, False),
        (3, 0, True, True),
    ]
    assert ask(query, 1) == [(0, 1, True, False), (1, 1, True, True), (2, 2, True, True), (3, 0, True, True)]


def test_option_probabilities(filled: Path) -> None:
    query = (
        "SELECT option, probability FROM option_probabilities "
        "WHERE split_seed = 1 AND epoch = 1 AND sample_id = 2 ORDER BY option"
    )
    total = math.exp(2) + 2
    assert [option for option, _ in ask(query)] == [0, 1, 2]
    assert [share for _, share in ask(query)] == pytest.approx(
        [1 / total, 1 / total, math.exp(2) / total], abs=1e-7
    )
    sums = ask("SELECT sum(probability) FROM option_probabilities GROUP BY split_seed, epoch, sample_id")
    assert [total for (total,) in sums] == pytest.approx([1.0] * 16)


def test_training_measures(filled: Path) -> None:
    query = """
        SELECT part, n, mean_loss, median_loss, accuracy, brier_score, step, samples_seen FROM training_measures
        WHERE split_seed = 0 AND epoch = ? ORDER BY 1
    """
    # Model 0 was trained on samples 0 (its label is noise) and 2, sample 1 was held out, 3 is the test sample. Losses are
    # 10.5 + sample; the given option leads by 2 among two options, three for sample 2.
    two, three = ([math.exp(2), *[1.0] * n] for n in (1, 2))
    brier = [
        brier_score_loss(
            [[1, *[0] * (len(weights) - 1)]],
            [[w / sum(weights) for w in weights]],
            scale_by_half=False,  # pyright: ignore[reportArgumentType]
        )
        for weights in (two, three)
    ]
    found = ask(query, 1.0)
    assert [row[:5] for row in found] == [
        ("held out", 1, 11.5, 11.5, 1.0),
        ("test", 1, 13.5, 13.5, 1.0),
        ("train", 2, 11.5, 11.5, 1.0),
        ("train, random label", 1, 10.5, 10.5, 1.0),
        ("train, true label", 1, 12.5, 12.5, 1.0),
    ]
    expected = [brier[0], brier[0], (brier[0] + brier[1]) / 2, brier[0], brier[1]]
    assert [row[5] for row in found] == pytest.approx(expected, rel=1e-6)
    assert {row[6:] for row in found} == {(3, 2)}
    at_first = ask(query, 0.0)
    assert [row[4] for row in at_first] == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert at_first[0][5] == pytest.approx(2 * (math.exp(2) / sum(two)) ** 2, rel=1e-6)
    assert {row[6:] for row in at_first} == {(0, 0)}


def test_population_psmi_is_the_mean_over_models_that_saw_the_sample(filled: Path) -> None:
    scores = [(0, 0, 1.0), (0, 2, 2.0), (1, 2, 4.0), (1, 1, float("nan"))]
    with publish() as connection:
        for target, sample, score in scores:
            for layer, factor in ((1, 10.0), (2, 1.0)):
                connection.execute(
                    "INSERT INTO predictor_scores BY NAME SELECT 's' AS study, ? AS target_seed, 1.0 AS epoch, "
                    "'psmi' AS predictor, ? AS layer, ? AS sample_id, ? AS score",
                    [target, layer, sample, factor * score],
                )
        for target in (0, 1):
            for layer in (1, 2):
                connection.execute(
                    "INSERT INTO predictor_evaluation BY NAME SELECT 's' AS study, ? AS target_seed, 1.0 AS epoch, "
                    "'psmi' AS predictor, ? AS layer, ? AS is_last_layer",
                    [target, layer, layer == 2],
                )
    assert ask("SELECT sample_id, psmi, n_models FROM population_psmi ORDER BY 1") == [
        (0, 1.0, 1),
        (2, 3.0, 2),
    ]
