"""Classes large enough for PSMI, and predictors better than chance."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from memo_assets.checks.predictors import auc_above_half, psmi_classes_large_enough
from memo_assets.checks.verdict import Verdict
from memo_assets.store.schema import ddl
from memo_assets_tests.checks.sound import Sound, facts_are_plain, write_tickets
from memo_assets_tests.studies import TABLE


def test_classes_are_counted_among_the_training_samples(warehouse: Path) -> None:
    write_tickets(warehouse, 180)
    sound = Sound(warehouse, TABLE)
    found = psmi_classes_large_enough(sound.layout, [0, 1])
    sizes = [
        sound.samples.set_index("sample_id").loc[sound.mask(seed), "given_label"].value_counts()
        for seed in (0, 1)
    ]
    assert found.passed
    assert found.facts == {
        "smallest_class": min(size.min() for size in sizes),
        "largest_class": max(size.max() for size in sizes),
        "small_classes": 0,
    }


def test_small_classes_are_named(warehouse: Path) -> None:
    sound = Sound(warehouse)  # 40 training samples of ten digits
    one = sound.samples["sample_id"].isin(sound.mask(1)[:1])
    sound.write_samples(
        sound.samples.assign(
            given_label=np.where(one, "a", np.where(sound.samples["sample_id"] % 2, "b", "c"))
        )
    )
    found = psmi_classes_large_enough(sound.layout, [1])
    assert not found.passed
    assert found.sentence.startswith(
        "labels of fewer than 10 training samples, which make rough PSMI (none for a single one): 'a' has 1, of seed 1."
    )
    assert found.seeds == (1,)
    assert facts_are_plain(found.facts)


def test_one_class_cannot_be_judged(warehouse: Path) -> None:
    sound = Sound(warehouse)
    sound.write_samples(sound.samples.assign(given_label="0"))
    found = psmi_classes_large_enough(sound.layout, [0])
    assert found.passed
    assert found.sentence.startswith("not judged: all training samples have the same label")


def evaluated(*rows: dict) -> Verdict:
    """What is said of AUCs: by default of PSMI's last layer at the prediction epoch, 100 samples, 10 memorized."""
    usual = {
        "study": "tiny", "target_seed": 0, "epoch": 1.0, "predictor": "psmi", "layer": 2, "n": 100, "n_memorized": 10,
        "is_prediction_epoch": True, "is_last_layer": True,
    }  # fmt: skip
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        if rows:
            connection.register("given", pd.DataFrame([{**usual, **row} for row in rows]))
            connection.execute("INSERT INTO predictor_evaluation BY NAME SELECT * FROM given")
        return auc_above_half(connection, "tiny")


LOSS, GAP = {"predictor": "loss", "layer": 0, "auc": 0.9}, {"predictor": "logit_gap", "layer": 0, "auc": 0.8}


def test_aucs_above_half_pass_and_only_those_judged_count() -> None:
    found = evaluated(
        {"auc": 0.7}, LOSS, GAP,
        {"auc": 0.2, "epoch": 2.0, "is_prediction_epoch": False},
        {"auc": 0.2, "layer": 1, "is_last_layer": False},
        {"auc": 0.3, "predictor": "random", "layer": 0},
    )  # fmt: skip
    assert found.passed
    assert found.sentence == "AUC of psmi, loss, logit_gap: 0.7 to 0.9, where chance gives .5"
    assert found.facts["aucs"] == 3
    assert found.facts["least_auc"] == 0.7
    # 10 memorized, 90 others: the standard error of chance is sqrt(101 / 10800).
    assert found.facts["standard_errors_above_half"] == pytest.approx(0.2 / np.sqrt(101 / 10_800))


def test_an_auc_at_chance_is_named_at_the_last_checkpoint_without_a_prediction_epoch() -> None:
    never = {"is_prediction_epoch": False, "target_seed": 3}
    found = evaluated(
        {"auc": 0.7}, {"auc": 0.9, **never}, {"auc": 0.5, "epoch": 2.0, **never}, {**LOSS, "epoch": 2.0, **never}
    )  # fmt: skip
    assert not found.passed
    assert found.sentence.startswith(
        "predictors no better than chance, whose AUC is .5: psmi 0.500 for target 3. "
    )
    assert found.seeds == (3,)


def test_an_auc_that_is_none_fails() -> None:
    found = evaluated({"auc": None, "n_memorized": 0}, LOSS)
    assert not found.passed
    assert found.facts == {"aucs": 2, "aucs_not_above_half": 1}
    assert facts_are_plain(found.facts)


def test_without_an_evaluation_nothing_is_judged() -> None:
    assert evaluated().sentence == "not judged: the warehouse has no evaluation of this study"
