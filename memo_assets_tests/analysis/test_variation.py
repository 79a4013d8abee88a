"""Accuracy before and after, by hand over tables in memory."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.variation import answers, drop_in_words, summary, variation_rates
from memo_assets.store.schema import ddl
from memo_assets_tests.studies import TABLE, study

STUDY = study(TABLE, {"data.choices": "choices", "shadows.audited": [2, 0]})
N = 60


def answered(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    gap = rng.normal(1, 1, N).astype(np.float32)
    varied = rng.normal(0, 1, N).astype(np.float32)
    outcome = np.where(np.arange(N) % 10 == 3, "right option", "varied")
    left_out = outcome != "varied"
    return pd.DataFrame(
        {
            "sample_id": np.arange(N)[::-1],
            "outcome": outcome,
            "gap": gap,
            "varied_gap": pd.Series(varied).where(~left_out),
            "is_right": gap > 0,
            "varied_is_right": pd.Series(varied > 0, dtype=object).where(~left_out, None),
        }
    )


@pytest.fixture
def made(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Answers, summary, the counted samples of target 0 with their labels, and the rates shown of it."""
    files = {seed: tmp_path / f"{seed}.parquet" for seed in (2, 0)}
    for seed, path in files.items():
        answered(seed).to_parquet(path, index=False)
    ids = np.arange(N)
    samples = pd.DataFrame(
        {"study": "own", "sample_id": ids, "true_index": 1, "given_index": 1 + (ids % 7 == 0)}
    )
    labels = pd.concat(
        pd.DataFrame(
            {"study": "own", "target_seed": seed, "epoch": epoch, "sample_id": ids, "memorized": flags}
        )
        for seed in (0, 2)
        for epoch, flags in ((1.0, ids < 0), (2.0, (ids + seed) % 4 == 0))
    )
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)

        def insert(name: str, table: pd.DataFrame) -> None:
            connection.register("given", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given")

        insert("samples", samples)
        insert("memorization", labels)
        # Of another study, with the same targets and ids.
        insert("samples", samples.assign(study="else", given_index=1))
        insert("memorization", labels.assign(study="else", memorized=True))
        table = answers(files)
        rates = summary(connection, STUDY, table)
        insert("answer_variation", table.assign(study="own"))
        insert("answer_variation_summary", rates.assign(study="own"))
        shown = variation_rates(Subject(connection, STUDY, 0))
    own = table[(table["target_seed"] == 0) & (table["outcome"] == "varied") & (table["sample_id"] % 7 != 0)]
    return table, rates, own.assign(memorized=own["sample_id"] % 4 == 0), shown


def test_answers_are_all_there_in_order(made: tuple):
    table = made[0]
    assert table["target_seed"].tolist() == [0] * N + [2] * N
    assert table["sample_id"].tolist() == [*range(N)] * 2
    assert table["varied_is_right"].isna().sum() == (table["outcome"] != "varied").sum() == 2 * N // 10


@pytest.mark.parametrize("among", ["memorized", "other", "all"])
def test_rates_by_hand(made: tuple, among: str):
    _, rates, own, shown = made
    if among != "all":
        own = own[own["memorized"] == (among == "memorized")]
    before, after = own["is_right"].astype(bool), own["varied_is_right"].astype(bool)
    found = rates[(rates["target_seed"] == 0) & (rates["among"] == among)].set_index("measure")
    by_hand = {
        "accuracy": (before.sum(), len(own)),
        "varied_accuracy": (after.sum(), len(own)),
        "lost": ((before & ~after).sum(), before.sum()),
    }
    assert found.index.tolist() == sorted(by_hand)
    for measure, (successes, trials) in by_hand.items():
        row = found.loc[measure]
        assert (row["successes"], row["trials"]) == (successes, trials)
        if trials < 10:
            assert row[["rate", "low", "high"]].isna().all()
            continue
        interval = binomtest(int(successes), int(trials)).proportion_ci(0.95, method="exact")
        assert row[["rate", "low", "high"]].tolist() == pytest.approx(
            [successes / trials, interval.low, interval.high]
        )
    pd.testing.assert_series_equal(
        shown[shown["among"] == among].set_index("measure")["rate"], found["rate"], check_dtype=False
    )


def test_the_groups_add_up(made: tuple):
    _, rates, own, _ = made
    of_target = rates[rates["target_seed"] == 0].pivot_table(
        index="measure", columns="among", values="trials"
    )
    assert (of_target["memorized"] + of_target["other"] == of_target["all"]).all()
    assert of_target.loc["accuracy", "memorized"] == own["memorized"].sum() > 0


def test_the_loss_in_words(made: tuple):
    _, _, own, shown = made
    lost = own["is_right"].astype(bool) & ~own["varied_is_right"].astype(bool)
    counted = [
        f"{name}: {(lost & group).sum()} of {(own['is_right'].astype(bool) & group).sum()} right answers lost"
        for name, group in (("memorized", own["memorized"]), ("other", ~own["memorized"]))
    ]
    assert drop_in_words(shown) == "; ".join(counted)
