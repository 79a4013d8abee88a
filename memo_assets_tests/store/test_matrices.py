"""Slices of the warehouse as matrices, and the refusal of incomplete ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets.store.load import load_block, load_samples
from memo_assets.store.matrices import membership, pool_and_test_at, pool_ids, shadows_at, trajectory
from memo_assets.store.tables import WarehouseError, publish, reading

from .small_study import loss, write_logits, write_study


@pytest.fixture(params=[2_000_000, 3])
def layout(warehouse: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Two models in the warehouse; read both at once, and one after the other."""
    monkeypatch.setattr("memo_assets.store.matrices._ROWS", request.param)
    layout = Layout(warehouse, "s")
    write_study(layout)
    load(layout, [0, 1])
    return layout


def load(layout: Layout, seeds: list[int]) -> None:
    with publish() as connection:
        load_samples(connection, layout)
        load_block(connection, layout, seeds)


def change(statement: str) -> None:
    with publish() as connection:
        connection.execute(statement)


def test_samples_of_the_pool(layout: Layout) -> None:
    with reading() as connection:
        assert pool_ids(connection, "s").tolist() == [0, 1, 2]


def test_membership_in_the_order_of_seed_and_sample(layout: Layout) -> None:
    with reading() as connection:
        assert membership(connection, "s", 2).tolist() == [[True, False, True], [False, True, True]]
        assert membership(connection, "s", 1).tolist() == [[True, False, True]]


def test_outputs_of_all_models_at_one_checkpoint(layout: Layout) -> None:
    with reading() as connection:
        shadows = shadows_at(connection, "s", 1.0, 2)
        first = shadows_at(connection, "s", 0.0, 2)
    assert shadows.losses.dtype == np.float32
    assert shadows.losses.tolist() == [[loss(seed, 1, sample) for sample in range(3)] for seed in range(2)]
    assert shadows.gaps.tolist() == [[2.0, 2.0, 2.0]] * 2
    assert first.gaps.tolist() == [[-2.0, -2.0, -2.0]] * 2


def test_outputs_on_the_test_samples(layout: Layout) -> None:
    with reading() as connection:
        shadows = shadows_at(connection, "s", 1.0, 2, part="test")
        assert shadows.losses.tolist() == [[loss(seed, 1, 3)] for seed in range(2)]
        assert shadows.gaps.tolist() == [[2.0]] * 2
    change("DELETE FROM logits WHERE split_seed = 1 AND sample_id = 3")
    with (
        reading() as connection,
        pytest.raises(
            WarehouseError, match=r"seeds \[1\] \(1 in all\) have not just one row per test sample \(1\)"
        ),
    ):
        shadows_at(connection, "s", 1.0, 2, part="test")


def test_one_pass_reads_what_two_read_whatever_the_order_of_the_rows(layout: Layout) -> None:
    for seed in (0, 1):
        add_queries(layout, seed)
    load(layout, [0, 1])

    def both() -> tuple[list[list[float]], ...]:
        with reading() as connection:
            pool, test = pool_and_test_at(connection, "s", 1.0, 2, n_queries=3)
            assert pool.query_gaps is not None
            alones = shadows_at(connection, "s", 1.0, 2), shadows_at(connection, "s", 1.0, 2, part="test")
            for found, alone in zip((pool, test), alones, strict=True):
                np.testing.assert_array_equal(found.gaps, alone.gaps)
                np.testing.assert_array_equal(found.losses, alone.losses)
        assert test.losses.tolist() == [[loss(seed, 1, 3)] for seed in range(2)]
        return pool.losses.tolist(), test.losses.tolist(), pool.query_gaps.tolist()

    loaded = both()
    change("CREATE TABLE turned AS SELECT * FROM logits ORDER BY sample_id DESC, split_seed")
    change("DELETE FROM logits; INSERT INTO logits SELECT * FROM turned ORDER BY sample_id DESC, split_seed")
    assert both() == loaded


def test_one_models_way_on_its_training_samples(layout: Layout) -> None:
    with reading() as connection:
        found = trajectory(connection, "s", 0)
    assert found.epochs.tolist() == [0.0, 1.0]
    assert found.sample_ids.tolist() == [0, 2]
    assert found.given_index.tolist() == [1, 2]
    assert found.losses.tolist() == [[0.5, 2.5], [10.5, 12.5]]
    assert found.gaps.tolist() == [[-2.0, -2.0], [2.0, 2.0]]
    inf = float("inf")
    assert found.option_logits.tolist() == [
        [[2.0, 0.0, -inf], [2.0, 0.0, 0.0]],
        [[0.0, 2.0, -inf], [0.0, 0.0, 2.0]],
    ]


def test_a_model_without_rows_is_named(layout: Layout) -> None:
    with reading() as connection:
        with pytest.raises(
            WarehouseError, match=r"study s: no split mask of seeds \[2, 3\]; materialize shadow_logits"
        ):
            membership(connection, "s", 4)
        with pytest.raises(
            WarehouseError, match=r"study s, epoch 1: seeds \[2, 3\] \(2 in all\) have not just one row"
        ):
            shadows_at(connection, "s", 1.0, 4)
        with pytest.raises(WarehouseError, match="the rows of split seed 2 are missing or incomplete"):
            trajectory(connection, "s", 2)
        with pytest.raises(WarehouseError, match=r"study s, epoch 0.5: seeds \[0, 1\] \(2 in all\)"):
            shadows_at(connection, "s", 0.5, 2)


@pytest.mark.parametrize("epoch", [0.0, 1.0])
def test_a_model_that_lacks_a_row_is_named(layout: Layout, epoch: float) -> None:
    write_logits(layout, 1, leave_out=(epoch, 1))
    load(layout, [1])
    with reading() as connection:
        with pytest.raises(
            WarehouseError, match=rf"study s, epoch {epoch:g}: seeds \[1\] \(1 in all\) .* sample \(3\)"
        ):
            shadows_at(connection, "s", epoch, 2)
        with pytest.raises(WarehouseError, match="the rows of split seed 1 are missing or incomplete"):
            trajectory(connection, "s", 1)
        assert trajectory(connection, "s", 0).losses.shape == (2, 2)
        assert shadows_at(connection, "s", epoch, 1).losses.shape == (1, 3)


def test_a_training_sample_that_lacks_all_rows_is_noticed(layout: Layout) -> None:
    change("DELETE FROM logits WHERE split_seed = 0 AND sample_id = 2")
    with (
        reading() as connection,
        pytest.raises(WarehouseError, match="split seed 0 are missing or incomplete"),
    ):
        trajectory(connection, "s", 0)


@pytest.mark.parametrize(("sample", "named"), [(3, 3), (99, 99)])
def test_a_split_mask_beyond_the_pool_is_named(layout: Layout, sample: int, named: int) -> None:
    change(f"UPDATE split_masks SET sample_id = {sample} WHERE split_seed = 1 AND sample_id = 2")
    with (
        reading() as connection,
        pytest.raises(
            WarehouseError,
            match=rf"the split masks of seeds \[1\] \(1 in all\) name samples .* not in the pool, such as {named};",
        ),
    ):
        membership(connection, "s", 2)


def test_a_study_without_samples_is_refused_everywhere(layout: Layout) -> None:
    change("DELETE FROM samples")
    with reading() as connection:
        for ask in (
            lambda: pool_ids(connection, "s"),
            lambda: membership(connection, "s", 2),
            lambda: shadows_at(connection, "s", 0.0, 2),
        ):
            with pytest.raises(
                WarehouseError, match="study s has no pool samples in the warehouse; materialize its samples"
            ):
                ask()
        with pytest.raises(WarehouseError, match="split seed 0 are missing"):
            trajectory(connection, "s", 0)


def add_queries(layout: Layout, seed: int) -> None:
    """Give every row of a model's logits the query gaps (logit_gap, sample_id, 10 x seed)."""
    table = pq.read_table(layout.logits(seed))
    gaps, ids = (table.column(name).to_pylist() for name in ("logit_gap", "sample_id"))
    queries = pa.array(
        [[g, float(i), 10.0 * seed] for g, i in zip(gaps, ids, strict=True)], pa.list_(pa.float32())
    )
    write_parquet(layout.logits(seed), table.append_column("query_gaps", queries))


def test_query_gaps_of_all_models(layout: Layout) -> None:
    for seed in (0, 1):
        add_queries(layout, seed)
    load(layout, [0, 1])
    with reading() as connection:
        pool, test = pool_and_test_at(connection, "s", 1.0, 2, n_queries=3)
        assert pool.query_gaps is not None
        assert test.query_gaps is None
        assert pool.query_gaps.tolist() == [
            [[2.0, float(i), 10.0 * seed] for i in range(3)] for seed in range(2)
        ]
        with pytest.raises(WarehouseError, match=r"seeds \[0, 1\] .* have not 9 query gaps"):
            pool_and_test_at(connection, "s", 1.0, 2, n_queries=9)


def test_a_block_with_and_without_queries_is_loaded_and_the_lack_named(layout: Layout) -> None:
    add_queries(layout, 1)
    load(layout, [0, 1])
    with reading() as connection:
        nulls = "SELECT split_seed, count(*) FROM logits WHERE query_gaps IS NULL GROUP BY 1"
        assert connection.execute(nulls).fetchall() == [(0, 8)]
        with pytest.raises(WarehouseError, match=r"seeds \[0\] .* have not 3 query gaps"):
            pool_and_test_at(connection, "s", 1.0, 2, n_queries=3)
