"""Labels by every attack and rule, and their stability, over a warehouse in memory."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from memo_assets.analysis.frames import Subject, label_scores
from memo_assets.analysis.labels import memorization, population_memorization
from memo_assets.analysis.stability import (
    advice,
    attack_agreement,
    label_stability,
    stability_points,
    stability_verdict,
)
from memo_assets.config import Study
from memo_assets.measures.attacks import ATTACKS
from memo_assets.measures.lira import log_lira
from memo_assets.measures.rmia import rmia
from memo_assets_tests.analysis.shadow_study import (
    EPOCHS,
    IDS,
    MEMORIZED,
    MODELS,
    POOL,
    inside,
    outputs,
    warehouse,
)
from memo_assets_tests.studies import DIGITS, study


def settings(**labels: object) -> Study:
    return study(
        DIGITS,
        {
            "shadows.models": MODELS,
            "shadows.audited": [0, 3],
            "labels": labels,
            "training.checkpoints": [0, 2],
        },
    )


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse() as open_connection:
        yield open_connection


def single(value: object) -> np.ndarray:
    """As the warehouse keeps outputs: in single precision."""
    return np.asarray(value, dtype=np.float32).astype(np.float64)


@pytest.mark.parametrize("target", [0, 3])
def test_labels_by_default(connection: duckdb.DuckDBPyConnection, target: int):
    labels, _ = memorization(connection, settings())
    assert len(labels) == 2 * len(EPOCHS) * POOL // 2
    rows = labels[(labels["target_seed"] == target) & (labels["epoch"] == 2)]
    member = inside()[target]
    expected = log_lira(single(outputs(2)[0][:, :POOL]), inside(), target)[member]
    np.testing.assert_array_equal(rows["sample_id"], IDS[:POOL][member])
    np.testing.assert_allclose(rows["log_lira"], expected, rtol=1e-12)
    np.testing.assert_array_equal(rows["score"], rows["log_lira"])
    np.testing.assert_array_equal(rows["log_lira_clipped"], rows["log_lira"].clip(-100, 100))
    np.testing.assert_array_equal(rows["memorized"], rows["score"] >= np.nanquantile(expected, 0.9))
    np.testing.assert_array_equal(rows["n_in"] + 1, inside()[:, member].sum(axis=0))
    assert set(rows["n_in"] + rows["n_out"]) == {MODELS - 1}
    first = labels[(labels["target_seed"] == target) & (labels["epoch"] == 0)]
    assert set(first["log_lira"]) == {0.0}


def test_scores_of_all_attacks_are_kept_whatever_the_study_chooses(connection: duckdb.DuckDBPyConnection):
    labels, scores = memorization(connection, settings(attack="rmia"))
    assert set(scores["attack"]) == set(ATTACKS)
    assert len(scores) == len(ATTACKS) * len(labels)
    assert not scores.duplicated(["target_seed", "epoch", "attack", "sample_id"]).any()
    gaps, losses = outputs(2)
    member = inside()[0]
    expected = rmia(single(losses[:, :POOL]), single(losses[:, POOL:]), inside(), 0)[member]
    own = labels[(labels["target_seed"] == 0) & (labels["epoch"] == 2)]
    np.testing.assert_array_equal(own["score"], expected)
    np.testing.assert_allclose(
        own["log_lira"], log_lira(single(gaps[:, :POOL]), inside(), 0)[member], rtol=1e-12
    )
    kept = scores[(scores["target_seed"] == 0) & (scores["epoch"] == 2)].set_index("attack")
    np.testing.assert_array_equal(kept.loc["rmia", "score"], expected)
    np.testing.assert_array_equal(kept.loc["rmia", "memorized"], own["memorized"])
    lira = kept.loc["online_lira"]
    np.testing.assert_array_equal(lira["memorized"], lira["score"] >= lira["score"].quantile(0.9))


def test_blocks_of_models_and_samples_change_no_bit(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
):
    whole = (*memorization(connection, settings()), population_memorization(connection, settings()))
    monkeypatch.setattr("memo_assets.store.matrices._ROWS", 3 * POOL)
    monkeypatch.setattr("memo_assets.measures.shadows._VALUES", 7 * MODELS)
    again = (*memorization(connection, settings()), population_memorization(connection, settings()))
    for one, other in zip(whole, again, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_eta_marks_scores_and_the_other_attacks_as_many(connection: duckdb.DuckDBPyConnection):
    labels, scores = memorization(connection, settings(eta=8))
    last = labels[(labels["target_seed"] == 0) & (labels["epoch"] == 2)]
    np.testing.assert_array_equal(last["memorized"], last["log_lira"] >= 8)
    assert last.loc[MEMORIZED[inside()[0]], "memorized"].all()
    assert last["memorized"].mean() < 0.3
    assert not labels.loc[labels["epoch"] == 0, "memorized"].any()
    counts = scores[scores["target_seed"] == 0].groupby(["epoch", "attack"])["memorized"].sum()
    assert set(counts.xs(0.0)) == {0}
    n = int(last["memorized"].sum())
    assert counts[2.0, "online_lira"] == n
    # The quantile falls between two scores, so that as many lie above it; ties of RMIA may add some.
    assert all(abs(int(counts[2.0, name]) - n) <= 1 for name in ATTACKS if "lira" in name)


def test_labels_that_do_not_split_the_samples_are_refused(connection: duckdb.DuckDBPyConnection):
    with pytest.raises(
        ValueError,
        match=r"study tiny: labels.eta = 10000 on online_lira calls 0 of 30 .* target 0 .* choose another",
    ):
        memorization(connection, settings(eta=10_000))
    with pytest.raises(ValueError, match="eta = -10000 on online_lira calls 30 of 30"):
        memorization(connection, settings(eta=-10_000))


def load(connection: duckdb.DuckDBPyConnection, chosen: Study, **tables: pd.DataFrame) -> Subject:
    """Put computed tables in the place of what is there."""
    for name, table in tables.items():
        connection.register("given", table.assign(study=chosen.name))
        connection.execute(f"DELETE FROM {name}")
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given")
    return Subject(connection, chosen, 0)


def test_what_figures_read_follows_attack_and_threshold(connection: duckdb.DuckDBPyConnection):
    chosen = settings(eta=0.1, attack="rmia")
    labels, scores = memorization(connection, chosen)
    connection.execute("UPDATE samples SET label_status = 'true'")
    subject = load(connection, chosen, memorization=labels, memorization_scores=scores)
    last = labels[(labels["target_seed"] == 0) & (labels["epoch"] == 2)]
    assert subject.memorized_share == pytest.approx(last["memorized"].mean())
    assert Subject(connection, settings(quantile=0.8), 0).memorized_share == 0.2
    shown = label_scores(subject)
    assert set(shown["epoch"]) == {2.0}
    np.testing.assert_array_equal(shown["score"], last["score"])
    agreed = attack_agreement(subject).set_index("attack")
    assert set(agreed.index) == set(ATTACKS)
    assert [*agreed.loc["rmia"]] == pytest.approx([1, 1])
    by_hand = (
        scores[(scores["target_seed"] == 0) & (scores["epoch"] == 2)].set_index("attack").loc["offline_lira"]
    )
    both = last["memorized"].to_numpy(bool) & by_hand["memorized"].to_numpy(bool)
    assert agreed.loc["offline_lira", "overlap"] == pytest.approx(
        2 * both.sum() / (last["memorized"].sum() + by_hand["memorized"].sum())
    )
    assert agreed.loc["offline_lira", "spearman"] == pytest.approx(
        float(np.asarray(spearmanr(last["score"], by_hand["score"]))[0])
    )


def test_stability_of_one_comparison_by_hand(connection: duckdb.DuckDBPyConnection):
    chosen = settings(eta=8)
    table = label_stability(connection, chosen)
    assert set(table["target_seed"]) == {0, 3}
    assert table.groupby(["comparison", "n_shadows"]).size().to_dict() == {
        ("all", 4): 60, ("all", 8): 60, ("disjoint", 5): 60,
    }  # fmt: skip
    gaps, member = single(outputs(2)[0][:, :POOL]), inside()
    drawn = np.random.default_rng([0, 0, 5]).permutation(np.arange(1, MODELS))
    sets = []
    for models in (drawn[:5], drawn[5:10]):
        rows = np.array([0, *sorted(models)])
        sets.append(log_lira(gaps[rows], member[rows], 0))
    scored = np.isfinite(sets[0]) & np.isfinite(sets[1])
    one, other = (scores[scored] >= 8 for scores in sets)
    row = table[(table["comparison"] == "disjoint") & (table["target_seed"] == 0)].iloc[0]
    assert row["agreement"] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert row["jaccard"] == pytest.approx((one & other).sum() / (one | other).sum())
    assert row["scored"] == pytest.approx(scored.sum() / member[0].sum())
    points = stability_points(load(connection, chosen, label_stability=table))
    of_target = table[(table["target_seed"] == 0) & (table["comparison"] == "disjoint")]["agreement"]
    shown = points[(points["comparison"] == "disjoint") & (points["measure"] == "agreement")].iloc[0]
    assert shown[["q25", "median", "q75"]].tolist() == pytest.approx(
        of_target.quantile([0.25, 0.5, 0.75]).tolist()
    )


def test_too_few_models_give_no_comparison(connection: duckdb.DuckDBPyConnection):
    few = study(DIGITS, {"shadows.models": 4, "training.checkpoints": [0, 2]})
    table = label_stability(connection, few)
    assert table.empty
    points = stability_points(load(connection, few, label_stability=table))
    assert stability_verdict(points, 3) is None
    assert "Too few shadow models" in advice(points, 3)


@pytest.mark.parametrize(
    ("medians", "sentence"),
    [
        ([0.6, 0.95, 0.97], "stable enough from 8 shadow models on"),
        ([0.5, 0.7, 0.85], "labels from all 32 are about stable"),
        ([0.5, 0.6, 0.65], "twice the models adds 0.05: more shadow models would still change labels"),
        ([0.5, 0.6, 0.605], "less than 0.01: more of them will not settle"),
        ([0.5], "one size only"),
    ],
)
def test_advice(medians: list[float], sentence: str):
    points = pd.DataFrame({"n_shadows": [4, 8, 16][: len(medians)], "median": medians})
    assert sentence in advice(points.assign(comparison="disjoint", measure="agreement"), 32)
