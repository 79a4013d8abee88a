"""Loading files into the warehouse."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memo_assets.store.files import read_json, write_json, write_parquet
from memo_assets.store.layout import Layout
from memo_assets.store.load import block_version, load_block, load_parquet, load_samples
from memo_assets.store.tables import WarehouseError, publish, reading

from .small_study import loss, write_logits, write_samples, write_seed, write_study


@pytest.fixture
def layout(warehouse: Path) -> Layout:
    layout = Layout(warehouse, "s")
    write_study(layout)
    return layout


def ask(query: str) -> list[tuple]:
    with reading() as connection:
        return connection.execute(query).fetchall()


def load_all(layout: Layout) -> dict[str, int]:
    with publish() as connection:
        load_samples(connection, layout)
        return load_block(connection, layout, [0, 1])


def test_samples_without_text_have_null_there(layout: Layout) -> None:
    with publish() as connection:
        assert load_samples(connection, layout) == 4
    found = ask(
        "SELECT study, sample_id, part, text, prompt, options, given_index, content_hash FROM samples ORDER BY 2"
    )
    assert found[0] == ("s", 0, "pool", None, None, ["a", "b"], 1, "h0")
    assert found[2] == ("s", 2, "pool", None, None, ["a", "b", "c"], 2, "h2")
    assert found[3][2] == "test"


def test_a_block_fills_four_tables(layout: Layout) -> None:
    assert load_all(layout) == {"logits": 16, "logit_moments": 8, "split_masks": 4, "checkpoints": 4}
    assert ask("SELECT split_seed, sample_id, position FROM split_masks ORDER BY 1, 3") == [
        (0, 2, 0),
        (0, 0, 1),
        (1, 1, 0),
        (1, 2, 1),
    ]
    assert ask("FROM checkpoints SELECT * EXCLUDE study ORDER BY ALL") == [
        (0, 0.0, 0, None, None, 0.0, False),
        (0, 1.0, 3, 1.5, 1.25, 0.01, False),
        (1, 0.0, 0, None, None, 0.0, False),
        (1, 1.0, 3, 2.5, 2.25, 0.01, False),
    ]
    (row,) = ask(
        "SELECT study, loss, logit_gap, option_logits FROM logits WHERE (split_seed, epoch, sample_id) = (1, 1, 2)"
    )
    assert row == ("s", loss(1, 1, 2), 2.0, [1.0, 1.0, 3.0])


def test_a_checkpoint_at_a_trigger_is_marked(layout: Layout) -> None:
    path = layout.training_log(1)
    log = read_json(path)
    at_trigger = {**log["checkpoints"][1], "epoch": 0.625, "step": 2, "is_trigger": True}
    write_json(path, {**log, "checkpoints": [log["checkpoints"][0], at_trigger, log["checkpoints"][1]]})
    assert load_all(layout)["checkpoints"] == 5
    assert ask("SELECT split_seed, epoch, step FROM checkpoints WHERE is_trigger") == [(1, 0.625, 2)]
    assert ask("SELECT count(*) FROM checkpoints WHERE NOT is_trigger") == [(4,)]


def test_a_block_has_another_version_when_anything_that_is_loaded_changes(layout: Layout) -> None:
    version = block_version(layout, [0, 1])
    log = read_json(layout.training_log(1))
    write_json(layout.training_log(1), {**log, "item": "trained with others"})
    assert block_version(layout, [0, 1]) == version
    log["checkpoints"][-1]["train_loss_mean"] += 1e-9
    write_json(layout.training_log(1), log)
    changed = block_version(layout, [0, 1])
    mask = pq.read_table(layout.split_mask(0))
    write_parquet(layout.split_mask(0), mask.slice(1))
    assert len({version, changed, block_version(layout, [0, 1]), block_version(layout, [1])}) == 4


def test_loading_twice_doubles_nothing_and_takes_what_is_new(layout: Layout) -> None:
    load_all(layout)
    assert load_all(layout) == {"logits": 16, "logit_moments": 8, "split_masks": 4, "checkpoints": 4}
    write_logits(layout, 1, add=1000)
    with publish() as connection:
        assert load_block(connection, layout, [1]) == {
            "logits": 8,
            "logit_moments": 8,
            "split_masks": 2,
            "checkpoints": 2,
        }
    assert ask("SELECT count(*), min(loss) FROM logits WHERE split_seed = 0") == [(8, loss(0, 0, 0))]
    assert ask("SELECT count(*), min(loss) FROM logits WHERE split_seed = 1") == [(8, 1000 + loss(1, 0, 0))]
    assert ask("SELECT count(*) FROM samples") == [(4,)]


def test_a_study_that_shrank_leaves_no_old_samples(layout: Layout) -> None:
    load_all(layout)
    write_parquet(layout.samples, pq.read_table(layout.samples).slice(0, 2))
    with publish() as connection:
        assert load_samples(connection, layout) == 2
    assert ask("SELECT sample_id FROM samples ORDER BY 1") == [(0,), (1,)]


def test_studies_do_not_touch_each_other(layout: Layout, warehouse: Path) -> None:
    load_all(layout)
    other = Layout(warehouse, "t")
    write_samples(other)
    write_seed(other, 0)
    with publish() as connection:
        load_samples(connection, other)
        load_block(connection, other, [0])
    assert ask("SELECT study, count(*) FROM logits GROUP BY 1 ORDER BY 1") == [("s", 16), ("t", 8)]


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        (lambda layout: layout.logits(1), "s/logits of seed 1"),
        (lambda layout: layout.split_mask(1), "s/split_masks of seed 1"),
        (lambda layout: layout.training_log(1), "s/adapters of seed 1"),
        (lambda layout: layout.samples, "s/samples"),
    ],
)
def test_a_missing_file_is_named_with_what_to_materialize(layout: Layout, file, needed: str) -> None:
    load_all(layout)
    before = (layout.warehouse / "memo.duckdb").read_bytes()
    file(layout).unlink()
    with pytest.raises(WarehouseError, match=rf"{file(layout)} is missing: materialize {needed} first"):
        load_all(layout)
    assert (layout.warehouse / "memo.duckdb").read_bytes() == before


def test_a_broken_file_is_named_and_changes_nothing(layout: Layout) -> None:
    load_all(layout)
    layout.logits(1).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(Exception, match=r"seed=1\.parquet"):
        load_all(layout)
    assert ask("SELECT count(*) FROM logits") == [(16,)]


def test_logits_of_another_model_are_refused(layout: Layout) -> None:
    layout.logits(1).rename(layout.logits(0))
    with (
        pytest.raises(WarehouseError, match="table logits: 8 of 8 new rows lie outside"),
        publish() as connection,
    ):
        load_block(connection, layout, [0])


def test_rows_of_other_checkpoints_than_in_order_are_loaded_all_the_same(layout: Layout) -> None:
    table = pq.read_table(layout.logits(1))
    write_parquet(layout.logits(1), pa.concat_tables([table.slice(4), table.slice(0, 4)]))
    assert load_all(layout)["logits"] == 16
    assert ask("SELECT count(*), count(DISTINCT (epoch, sample_id)) FROM logits WHERE split_seed = 1") == [
        (8, 8)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        lambda table: pa.concat_tables([table, table.slice(7)]),  # a row again
        lambda table: pa.concat_tables([table, table.slice(0, 4)]),  # a checkpoint again
        lambda table: table.take([0, 1, 2, 3, 5, 4, 6, 4]),  # in no order
    ],
)
def test_rows_that_come_twice_are_refused(layout: Layout, rows) -> None:
    write_parquet(layout.logits(1), rows(pq.read_table(layout.logits(1))))
    with pytest.raises(WarehouseError, match="rows repeat a key"), publish() as connection:
        load_block(connection, layout, [1])


def test_rows_of_another_model_of_the_block_are_refused(layout: Layout) -> None:
    layout.logits(1).write_bytes(layout.logits(0).read_bytes())
    with pytest.raises(WarehouseError, match="table logits: 8 of 16 new rows repeat a key"):
        load_all(layout)


def test_a_computed_table_is_loaded_for_its_study(layout: Layout) -> None:
    rows = pa.table({"epoch": [0.0, 1.0], "sample_id": [5, 5], "counterfactual": [0.25, None]})
    path = layout.table("population_memorization")
    write_parquet(path, rows)
    with publish() as connection:
        assert load_parquet(connection, "population_memorization", path, where={"study": "s"}) == 2
    found = ask(
        "SELECT study, epoch, sample_id, counterfactual, mean_gap FROM population_memorization ORDER BY epoch"
    )
    assert found == [("s", 0.0, 5, 0.25, None), ("s", 1.0, 5, None, None)]
