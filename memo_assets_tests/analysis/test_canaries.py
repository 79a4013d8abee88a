"""Canaries told by predictors and by the attack, over a warehouse in memory: the memorized fifth are the canaries."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from memo_assets.analysis.canaries import told_by_predictors, told_by_the_attack
from memo_assets.analysis.frames import Subject
from memo_assets_tests.analysis.shadow_study import IDS, MEMORIZED, MODELS, POOL, inside, outputs, warehouse
from memo_assets_tests.studies import DIGITS, study

SETTINGS = {"shadows.models": MODELS, "training.checkpoints": [0, 2]}


class AtEpochTwo(Subject):
    """An audited model whose loss has fallen at epoch 2."""

    @property
    def judged_epoch(self) -> float:
        return 2.0


def subject_of(connection: duckdb.DuckDBPyConnection, kind: str, models: int = MODELS) -> Subject:
    changes = {"canaries": {"kind": kind, "count": 12}}
    return AtEpochTwo(connection, study(DIGITS, {**SETTINGS, "shadows.models": models, **changes}), 0)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse() as open_connection:
        canaries = IDS[:POOL][MEMORIZED].tolist()
        open_connection.execute(
            "UPDATE samples SET canary = 'ood' WHERE sample_id IN (SELECT unnest(?))", [canaries]
        )
        yield open_connection


def test_the_attack_equals_every_model_left_out_in_turn(connection: duckdb.DuckDBPyConnection):
    curves = told_by_the_attack(subject_of(connection, "ood")).groupby("group")["auc"].first()
    gaps, member = outputs(2.0)[0][:, :POOL].astype(np.float32).astype(float), inside()
    scores = np.full(gaps.shape, np.nan)
    for model in range(MODELS):
        others = np.arange(MODELS) != model
        for sample in range(POOL):
            both = [gaps[others & (member[:, sample] == side), sample] for side in (True, False)]
            ins, outs = (
                norm.logpdf(gaps[model, sample], values.mean(), values.std(ddof=1)) for values in both
            )
            scores[model, sample] = ins - outs
    for group, which in (("canaries", MEMORIZED), ("other samples", ~MEMORIZED)):
        kept = np.isfinite(scores[:, which])
        expected = roc_auc_score(member[:, which][kept], scores[:, which][kept])
        assert curves[group] == pytest.approx(expected, abs=1e-9)
    assert curves["canaries"] > 0.99
    assert 0.5 < curves["other samples"] < 0.8


def test_too_few_models_leave_nothing_to_tell(connection: duckdb.DuckDBPyConnection):
    connection.execute("DELETE FROM split_masks WHERE split_seed >= 4")
    connection.execute("DELETE FROM logits WHERE split_seed >= 4")
    # Of four models every sample has at most three others, one of them alone on its side.
    few = told_by_the_attack(subject_of(connection, "ood", models=4))
    assert list(few.columns) == ["group", "fpr", "tpr", "auc"]
    assert few.empty


def test_predictors_tell_only_canaries_out_of_distribution(connection: duckdb.DuckDBPyConnection):
    trained = IDS[:POOL][inside()[0]]
    loss = np.linspace(0, 1, len(trained))
    rows = pd.DataFrame({"study": "tiny", "target_seed": 0, "epoch": 2.0, "predictor": "loss", "layer": 0,
                         "sample_id": trained, "score": loss})  # fmt: skip
    keys = rows[["study", "target_seed", "epoch", "predictor", "layer"]].drop_duplicates()
    for name, table in (
        ("predictor_scores", rows),
        ("predictor_evaluation", keys.assign(is_last_layer=True)),
    ):
        connection.register("given", table)
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given")
    curve = told_by_predictors(subject_of(connection, "ood"))
    assert curve["predictor"].unique().tolist() == ["loss"]
    expected = roc_auc_score(np.isin(trained, IDS[:POOL][MEMORIZED]), loss)
    assert curve["auc"].iloc[0] == pytest.approx(expected)
    connection.execute("UPDATE samples SET canary = 'clean' WHERE canary = 'ood'")
    assert told_by_predictors(subject_of(connection, "clean")).empty
