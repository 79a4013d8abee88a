"""How samples that an audit flags are trained on."""

import numpy as np
import pandas as pd
import pytest

from memo_assets.config.protection import AtRisk
from memo_assets.data.errors import AuditError
from memo_assets.data.protection import protected_samples, relabelled, replaced_rows

# Six samples: five of the pool, of which 2, 5 and 9 are flagged; 7 is of the test set.
SAMPLES = pd.DataFrame(
    {
        "sample_id": [1, 2, 5, 7, 8, 9],
        "part": ["pool", "pool", "pool", "test", "pool", "pool"],
        "given_index": np.array([0, 1, 0, 1, 1, 2], dtype=np.int16),
        "given_label": ["a", "b", "a", "b", "b", "c"],
        "options": [["a", "b", "c"]] * 6,
    }
)
AUDIT = pd.DataFrame(
    {
        "sample_id": [9, 8, 5, 2, 1],  # in any order
        "flagged": [True, False, True, True, False],
        "psmi": [-1.0, 2.0, -2.0, -3.0, 1.0],
        "suspected_index": [2, -1, 2, -1, -1],  # that of 9 is the label it has
    }
)


@pytest.mark.parametrize(
    ("at_risk", "actions", "labels"),
    [
        ("drop", ["drop", "drop", "drop"], [-1, -1, -1]),
        ("replace", ["replace", "replace", "replace"], [-1, -1, -1]),
        ("relabel", ["drop", "relabel", "drop"], [-1, 2, -1]),
    ],
)
def test_each_flagged_sample_gets_an_action(at_risk: AtRisk, actions: list[str], labels: list[int]) -> None:
    found = protected_samples(SAMPLES, AUDIT, at_risk)
    assert found["sample_id"].tolist() == [2, 5, 9]
    assert found["action"].tolist() == actions
    assert found["new_index"].tolist() == labels


def test_a_suspected_label_beyond_a_samples_options_is_none() -> None:
    audit = AUDIT.assign(suspected_index=[3, -1, 3, 3, -1])
    assert set(protected_samples(SAMPLES, audit, "relabel")["action"]) == {"drop"}


def test_new_labels_change_the_training_labels_and_nothing_else() -> None:
    found = relabelled(SAMPLES, protected_samples(SAMPLES, AUDIT, "relabel"))
    assert found["given_index"].tolist() == [0, 1, 2, 1, 1, 2]
    assert found["given_label"].tolist() == ["a", "b", "c", "b", "b", "c"]
    rest = ["sample_id", "part", "options"]
    pd.testing.assert_frame_equal(found[rest], SAMPLES[rest])
    assert relabelled(SAMPLES, protected_samples(SAMPLES, AUDIT, "drop")) is SAMPLES


def test_places_at_risk_are_taken_by_own_samples_of_the_same_label() -> None:
    labels = np.repeat([0, 1, 2], 20)
    at_risk = np.arange(60) % 4 == 0
    at_risk[40:] = True  # of label 2 no sample is safe
    rows = np.random.default_rng(3).permutation(60)[:45]
    found = replaced_rows(rows, at_risk, labels, 7)
    assert (labels[found] == labels[rows]).all()
    safe = ~at_risk[rows]
    assert (found[safe] == rows[safe]).all()
    replaced = at_risk[rows] & (labels[rows] < 2)
    assert not at_risk[found[replaced]].any()
    assert set(found[replaced]) <= set(rows)  # nothing comes in that the model was not to be trained on
    assert (found[labels[rows] == 2] == rows[labels[rows] == 2]).all()
    assert (found == replaced_rows(rows, at_risk, labels, 7)).all()
    assert (found != replaced_rows(rows, at_risk, labels, 8)).any()


@pytest.mark.parametrize(
    ("audit", "message"),
    [
        (AUDIT.drop(columns="psmi"), "the audit has no column psmi; expected sample_id, flagged"),
        (AUDIT.iloc[1:], "the audit has 4 samples and the pool 5, 1 of them in one only"),
        (AUDIT.assign(flagged=True), "the audit flags all 5 samples of the pool"),
    ],
)
def test_an_audit_that_cannot_be_used_is_refused(audit: pd.DataFrame, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        protected_samples(SAMPLES, audit, "drop")
