"""Protected variants beside their study, over drawn models whose samples are memorized or not for sure."""

from collections.abc import Hashable, Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from memo_assets.analysis.labels import attack_outputs, memorization
from memo_assets.analysis.mitigations import Facts, mitigation_comparison, mitigation_points, not_in_warehouse
from memo_assets.config import Study
from memo_assets.config.protection import Protections
from memo_assets.measures.evaluation import evaluate
from memo_assets.study_protections import ProtectedStudy, protected_studies, protected_variants
from memo_assets_tests.studies import DIGITS, changed

from .shadow_study import EPOCHS, IDS, MEMORIZED, MODELS, POOL, inside, outputs, warehouse

BASE: dict[str, Any] = changed(
    DIGITS,
    {
        "shadows.models": MODELS,
        "shadows.audited": [0, 3],
        "training.checkpoints": EPOCHS,
        "labels.quantile": 0.8,
    },
)
PROTECTIONS = {"drop": {"at_risk": "drop"}, "dp": {"dp": {"noise_multiplier": 1.0, "max_norm": 1.0, "delta": 1e-5}},
               "unseen": {"prune": 0.5}}  # fmt: skip
FACTS = Facts({"tiny": IDS[:POOL][MEMORIZED].tolist()}, {"tiny_dp": (3.5, 1e-5)})


def family() -> ProtectedStudy:
    made = protected_variants(BASE, Protections.model_validate({"by_name": PROTECTIONS}))
    (found,) = protected_studies([Study.model_validate(one) for one in (BASE, *made)])
    return found


@pytest.fixture(scope="module")
def loaded() -> Iterator[duckdb.DuckDBPyConnection]:
    """The study; a variant that does not know its memorized samples any more; one that has memorized two others."""
    with warehouse() as connection:
        for name in ("tiny_drop", "tiny_dp"):
            for table in ("samples", "split_masks", "logits"):
                rows = f"SELECT * REPLACE ('{name}' AS study) FROM {table} WHERE study = 'tiny'"
                connection.execute(f"INSERT INTO {table} BY NAME {rows}")
        members = "EXISTS (FROM split_masks m WHERE m.study = l.study AND m.split_seed = l.split_seed AND m.sample_id = l.sample_id)"
        forgotten = IDS[:POOL][MEMORIZED].tolist()
        for name, ids, change in (("tiny_drop", forgotten, -8.0), ("tiny_dp", IDS[[1, 2]].tolist(), 40.0)):
            connection.execute(
                f"UPDATE logits l SET logit_gap = logit_gap + ? WHERE study = ? AND epoch = 2 AND {members} "
                "AND list_contains(?, sample_id)",
                [change, name, ids],
            )
        one = family()
        for of in (one.study, one.variants["drop"], one.variants["dp"]):
            frame, _ = memorization(connection, of)
            connection.register("given", frame.assign(study=of.name))
            connection.execute("INSERT INTO memorization BY NAME SELECT * FROM given")
        connection.execute(
            "INSERT INTO predictor_evaluation (study, target_seed, epoch, predictor, layer, is_prediction_epoch) "
            "VALUES ('tiny', 0, 2, 'psmi', 1, true), ('tiny', 0, 0, 'psmi', 1, false)"
        )
        yield connection


Rows = dict[tuple[str, str], dict[Hashable, Any]]


@pytest.fixture(scope="module")
def table(loaded: duckdb.DuckDBPyConnection) -> Rows:
    """Rows by mitigation and group."""
    frame = mitigation_comparison(loaded, [family()], FACTS)
    return {(row["mitigation"], row["sample_group"]): row for row in frame.to_dict("records")}


def test_rows_of_what_is_there_in_order(loaded: duckdb.DuckDBPyConnection, table: Rows) -> None:
    order = ["none", "early_stopping", "drop", "dp"]
    assert list(table) == [(name, group) for name in order for group in ("protected", "left", "all")]
    assert not_in_warehouse(loaded, [family()]) == ["tiny_unseen"]
    assert [row["n"] for row in table.values()] == [12, 48, 60] * 4
    assert table["none", "all"]["n_judged"] == inside()[[0, 3]].sum()
    assert [row["epsilon"] for key, row in table.items() if key[0] == "dp"] == [3.5] * 3
    assert all(np.isnan(row["epsilon"]) for key, row in table.items() if key[0] != "dp")


def test_utility_is_the_mean_over_models(table: Rows) -> None:
    gaps, _ = outputs(2.0)
    accuracies = (gaps[:, POOL:] > 0).mean(axis=1)
    row = table["none", "protected"]
    assert row["test_accuracy"] == pytest.approx(accuracies.mean())
    assert row["test_accuracy_sd"] == pytest.approx(accuracies.std(ddof=1))
    chosen = inside() & MEMORIZED
    by_model = [(of_model[:POOL] > 0)[mine].mean() for of_model, mine in zip(gaps, chosen, strict=True)]
    assert row["train_accuracy"] == pytest.approx(np.mean(by_model))


def test_memorized_is_judged_by_the_threshold_of_the_study_itself(
    loaded: duckdb.DuckDBPyConnection, table: Rows
) -> None:
    scores = {
        name: loaded.execute(
            "SELECT target_seed, sample_id, score, memorized FROM memorization WHERE study = ? AND epoch = 2", [name]
        ).df().set_index(["target_seed", "sample_id"]).sort_index()
        for name in ("tiny", "tiny_drop", "tiny_dp")
    }  # fmt: skip
    before = scores["tiny"]["memorized"]
    limit = scores["tiny"]["score"].where(before).groupby("target_seed").min()
    at_risk = before.index.get_level_values("sample_id").isin(FACTS.flagged["tiny"])
    for mitigation, name in (("none", "tiny"), ("drop", "tiny_drop"), ("dp", "tiny_dp")):
        now = scores[name]["score"] >= limit.reindex(scores[name].index, level="target_seed")
        for group, chosen in (("protected", at_risk), ("left", ~at_risk), ("all", at_risk | True)):
            row = table[mitigation, group]
            assert row["share_memorized"] == pytest.approx(now[chosen].mean())
            assert row["share_memorized_before"] == pytest.approx(before[chosen].mean())
            assert row["newly_memorized"] == (now & ~before)[chosen].sum()
            assert row["no_longer_memorized"] == (before & ~now)[chosen].sum()
    # Its own quantile would call a fifth memorized in every variant.
    assert scores["tiny_drop"]["memorized"].mean() == pytest.approx(0.2)
    assert table["drop", "protected"]["share_memorized"] == 0
    trained = inside()[[0, 3]][:, [1, 2]].sum()
    assert table["dp", "left"]["newly_memorized"] == trained > 0


def test_the_attack_is_asked_of_all_models_and_members_by_the_split_masks(
    loaded: duckdb.DuckDBPyConnection, table: Rows
) -> None:
    for name in ("none", "drop"):
        of = family().study if name == "none" else family().variants[name]
        scores = attack_outputs(loaded, of, 2.0).loo[MEMORIZED].ravel()
        judged = evaluate(scores, inside().T[MEMORIZED].ravel(), higher_is_riskier=True)
        row = table[name, "protected"]
        assert (row["attack_auc"], row["attack_tpr_at_fpr_01"]) == (judged.auc, judged.tpr_at_fpr_01)
    auc = {key: row["attack_auc"] for key, row in table.items()}
    assert auc["none", "protected"] > 0.99
    assert abs(auc["drop", "protected"] - 0.5) < 0.15
    assert auc["none", "left"] == auc["drop", "left"]


def test_without_an_audit_all_samples_are_one_group(loaded: duckdb.DuckDBPyConnection, table: Rows) -> None:
    found = mitigation_comparison(loaded, [family()], Facts({}, {}))
    assert set(found["sample_group"]) == {"all"}
    expected = [row["attack_auc"] for key, row in table.items() if key[1] == "all"]
    assert found["attack_auc"].tolist() == expected


def test_points_come_back_from_the_warehouse_in_order(loaded: duckdb.DuckDBPyConnection, table: Rows) -> None:
    shuffled = pd.DataFrame(table.values()).sample(frac=1, random_state=0)
    loaded.register("shuffled", shuffled)
    loaded.execute("INSERT INTO mitigation_comparison BY NAME SELECT * FROM shuffled")
    found = mitigation_points(loaded, [family()])
    assert list(dict.fromkeys(found["mitigation"])) == ["none", "early_stopping", "drop", "dp"]
    assert set(found["study"]) == {"Tiny digits"}
    assert mitigation_points(loaded, []).empty
