"""FPR under other labels and objectives, on ten samples whose answers are worked out by hand.

By falling loss the samples stand in the order 8, 7, ..., 1, 0, 9; by rising PSMI in the order 9, 8, ..., 0.
"""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.sweeps import (
    auc_by_eta,
    fpr_by_label_epoch,
    fpr_by_objective,
    fpr_by_share,
    roc_by_eta,
    rule_by_eta,
)
from memo_assets_tests.studies import DIGITS, study

IDS = np.arange(10)
LOSS = np.where(IDS == 9, 0, IDS + 1).astype(float)


class AtEpochOne(Subject):
    """An audited model whose loss has fallen at epoch 1."""

    @property
    def judged_epoch(self) -> float:
        return 1.0


def scores(predictor: str, layer: int, epoch: float, values: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame({"sample_id": IDS, "score": values})
    return frame.assign(study="tiny", target_seed=0, predictor=predictor, layer=layer, epoch=epoch)


@pytest.fixture
def subject() -> Iterator[Subject]:
    predicted = pd.concat(
        [
            scores("loss", 0, 1, LOSS),
            scores("loss", 0, 3, -LOSS),
            scores("psmi", 1, 1, IDS.astype(float)),
            scores("psmi", 2, 1, -IDS.astype(float)),
        ]
    )
    keys = ["study", "target_seed", "epoch", "predictor", "layer"]
    judged = predicted[keys].drop_duplicates()
    judged = judged.assign(is_last_layer=judged["layer"] != 1)
    memorized = {0: IDS >= 0, 1: IDS == 0, 2: IDS >= 0, 3: IDS == 9}
    labels = pd.concat(
        [
            pd.DataFrame({"epoch": float(epoch), "sample_id": IDS, "memorized": flags, "score": IDS * 1.0})
            for epoch, flags in memorized.items()
        ]
    ).assign(study="tiny", target_seed=0)
    with duckdb.connect() as connection:
        for name, table in (
            ("predictor_scores", predicted),
            ("predictor_evaluation", judged),
            ("memorization", labels),
        ):
            connection.register("given", table)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
        yield AtEpochOne(connection, study(DIGITS), 0)


def fprs(points: pd.DataFrame, predictor: str) -> dict[float, float]:
    rows = points[points["predictor"] == predictor]
    return dict(zip(rows["x"], rows["fpr"], strict=True))


def test_labels_are_drawn_anew_at_each_share(subject: Subject):
    points = fpr_by_share(subject, [0.1, 0.5])
    assert fprs(points, "loss") == {0.1: 1.0, 0.5: 0.0}  # sample 9 comes last; 8, 7, 6, 5 are four of five
    assert fprs(points, "psmi") == {0.1: 0.0, 0.5: 0.0}
    assert list(points.drop_duplicates("predictor")["predictor"]) == ["psmi", "loss"]
    layers = points.groupby("predictor")["layer"].first()
    assert layers["psmi"] == 2
    assert pd.isna(layers["loss"])


def test_labels_of_every_epoch_but_the_untrained(subject: Subject):
    loss = fprs(fpr_by_label_epoch(subject), "loss")
    assert list(loss) == [1, 2, 3]
    assert loss[1] == 8 / 9  # sample 0 is the ninth
    assert np.isnan(loss[2])  # all are memorized: nothing to tell apart
    assert loss[3] == 1


def test_an_objective_that_must_find_all(subject: Subject):
    subject.connection.execute("UPDATE memorization SET memorized = sample_id >= 5 WHERE epoch = 3")
    points = fpr_by_objective(subject, [0.5, 0.75, 0.8])
    assert fprs(points, "loss") == {0.5: 0.0, 0.75: 0.0, 0.8: 1.0}
    assert fprs(points, "psmi") == {0.5: 0.0, 0.75: 0.0, 0.8: 0.0}


def test_curves_and_rule_at_each_eta(subject: Subject):
    # At eta 8 the samples 8 and 9 are memorized; at eta 0 all are, at eta 10 none: nothing to tell apart.
    curves = roc_by_eta(subject, [0.0, 8.0, 10.0])
    assert set(curves["eta"]) == {8.0}
    assert set(curves["n_memorized"]) == {2}
    loss = curves[curves["predictor"] == "loss"]
    # By falling loss the first found is 8, the last of ten is 9.
    assert loss["auc"].iloc[0] == 0.5
    assert loss["tpr"].tolist() == [0, *[0.5] * 9, 1]
    assert loss["fpr"].tolist() == [0, *(n / 8 for n in range(9)), 1]
    points = auc_by_eta(subject, [0.0, 8.0])
    assert dict(zip(points["predictor"], points["auc"], strict=True)) == {"psmi": 1.0, "loss": 0.5}
    # PSMI of the last layer is below 0 for all samples but 0.
    assert rule_by_eta(subject, [8.0, 10.0]) == {8.0: (7 / 8, 1.0)}


def test_eta_means_log_lira_where_the_attack_gives_shares(subject: Subject):
    subject.connection.execute("ALTER TABLE memorization ADD COLUMN log_lira DOUBLE DEFAULT 0")
    subject.connection.execute("UPDATE memorization SET log_lira = 9 - sample_id, score = score / 10")
    of_shares = AtEpochOne(subject.connection, study(DIGITS, {"labels.attack": "rmia"}), 0)
    points = auc_by_eta(of_shares, [8.0])
    assert dict(zip(points["predictor"], points["auc"], strict=True)) == {"psmi": 0.0, "loss": 1 / 8}
