"""The audit as a library, on names of towns and the toy model: everything is real but the size."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.audit import AuditResult, AuditSettings, audit, verify
from memo_assets.audit.result import CSV, PAGE, PARQUET, VerifyError
from memo_assets.data.errors import DataError
from memo_assets.measures.evaluation import evaluate
from memo_assets.training.interruption import Interrupted
from memo_assets_tests.audit.conftest import WRONG, N


@pytest.fixture(scope="module")
def found(audit_warehouse: Path, towns: pd.DataFrame) -> AuditResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMO_WAREHOUSE", str(audit_warehouse))
        return audit(towns, text="name", label="country", model="tiny", epochs=8, canaries=10, shadows=8)


def test_wrong_labels_come_first(found: AuditResult, towns: pd.DataFrame) -> None:
    table = found.at_risk
    assert sorted(table["sample_id"]) == list(range(N))
    assert table["rank"].tolist() == list(range(1, N + 1))
    assert table["psmi"].is_monotonic_increasing
    assert (table["flagged"] == (table["psmi"] < 0)).all()
    wrong = towns["is_wrong"].to_numpy()[table["sample_id"]]
    assert evaluate(table["psmi"], wrong, higher_is_riskier=False).auc > 0.85
    flagged = table["flagged"].to_numpy()
    assert (flagged & wrong).sum() > 0.5 * WRONG
    assert flagged[~wrong].mean() < 0.3


def test_suspected_labels_are_mostly_the_true_ones(found: AuditResult, towns: pd.DataFrame) -> None:
    table = found.at_risk
    suspected = table["suspected_label"].notna().to_numpy()
    assert (table["suspected_label"] != table["label"]).all()
    wrong = towns["is_wrong"].to_numpy()[table["sample_id"]]
    assert suspected[wrong].mean() > 3 * suspected[~wrong].mean()


def test_controls_tell_what_they_are_planted_for(found: AuditResult) -> None:
    by_kind = {one.kind: one for one in found.summary.controls}
    assert set(by_kind) == {"wrong_label", "rare_string", "right_label", "duplicate"}
    assert by_kind["wrong_label"].expected == "flagged"
    caught, alarmed = by_kind["wrong_label"].flagged, by_kind["right_label"].flagged
    assert caught.value is not None
    assert alarmed.value is not None
    assert caught.value > 0.6
    assert alarmed.value < 0.4
    assert caught.trials == 10
    assert len(found.planted) == 40


def test_the_calibration_counts_models_and_gives_intervals(found: AuditResult) -> None:
    calibration = found.summary.calibration
    assert calibration is not None
    assert calibration.shadows == 8
    for rate in (calibration.precision, calibration.recall, calibration.false_positive_rate):
        assert rate.value is not None
        assert rate.low is not None
        assert rate.high is not None
        assert rate.low <= rate.value <= rate.high
    assert calibration.precision.successes == calibration.recall.successes
    assert calibration.recall.trials + calibration.false_positive_rate.trials == 8 * (N // 2)
    # Far more of the memorized are flagged than of the others.
    recall, alarms = calibration.recall.value, calibration.false_positive_rate.value
    assert recall is not None
    assert alarms is not None
    assert recall > 2 * alarms


def test_the_run_stopped_early_and_says_what_it_cost(found: AuditResult) -> None:
    run, cost = found.summary.run, found.summary.cost
    assert run.reached
    assert run.median_loss <= 0.05 * run.reference_loss
    assert 0 < run.steps < run.steps_of_all_epochs
    assert cost.of_full_run == run.steps / run.steps_of_all_epochs < 1
    assert cost.samples_trained == pytest.approx(run.epoch * (N + 40), abs=8)
    # Untrained, after each whole epoch, and where it stopped.
    assert run.epoch % 1 > 0
    assert cost.samples_run_forward == (int(run.epoch) + 2) * (N + 40)
    assert set(cost.seconds_by_part) == {"model", "training run", "scores", "calibration", "duplicates"}


def test_texts_stay_out_unless_they_may_be_shown(
    found: AuditResult, towns: pd.DataFrame, tmp_path: Path
) -> None:
    assert "text" not in found.at_risk
    found.save(tmp_path / "report")
    written = b"".join(path.read_bytes() for path in (tmp_path / "report").iterdir())
    rare = max(towns["name"], key=len)
    assert rare.encode() not in written


def test_saved_files_agree_and_verify(found: AuditResult, tmp_path: Path) -> None:
    path = found.save(tmp_path)
    summary = verify(tmp_path)
    assert summary == verify(path)
    assert summary.risk == found.summary.risk
    assert set(summary.files) == {CSV, PARQUET, PAGE}
    from_csv, from_parquet = pd.read_csv(tmp_path / CSV), pd.read_parquet(tmp_path / PARQUET)
    assert from_csv["sample_id"].tolist() == from_parquet["sample_id"].tolist()
    np.testing.assert_allclose(from_csv["psmi"], from_parquet["psmi"], rtol=1e-8)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "are at risk of being memorized" in page
    assert summary.run.message in page


@pytest.mark.parametrize("name", [CSV, PARQUET, PAGE, "audit.json"])
def test_a_changed_file_is_found(found: AuditResult, tmp_path: Path, name: str) -> None:
    found.save(tmp_path)
    path = tmp_path / name
    if name == "audit.json":
        content = json.loads(path.read_text(encoding="utf-8"))
        content["risk"]["share"]["successes"] -= 1
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(VerifyError, match=name):
        verify(tmp_path)


@pytest.mark.parametrize("lacking", [CSV, "audit.json"])
def test_a_missing_file_is_found(found: AuditResult, tmp_path: Path, lacking: str) -> None:
    found.save(tmp_path)
    (tmp_path / lacking).unlink()
    with pytest.raises(VerifyError, match=lacking):
        verify(tmp_path)


def test_an_interrupted_audit_goes_on_to_the_same_result(towns: pd.DataFrame, tmp_path: Path) -> None:
    asked = {
        "text": "name",
        "label": "country",
        "settings": AuditSettings(model="tiny", canaries=0, epochs=8),
    }
    whole = audit(towns, **asked)
    for limit in (7, 20):
        steps: list[int] = []

        def told(done: int, total: int, unit: str, steps: list[int] = steps) -> None:
            steps.append(done)

        with pytest.raises(Interrupted):
            audit(
                towns,
                **asked,
                work=tmp_path,
                on_progress=told,
                should_stop=lambda steps=steps, limit=limit: len(steps) >= limit,
            )
    again = audit(towns, **asked, work=tmp_path)
    pd.testing.assert_frame_equal(again.at_risk, whole.at_risk)
    assert again.summary.run == whole.summary.run
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_goes_on_with_the_pack_that_was_under_way(towns: pd.DataFrame, tmp_path: Path) -> None:
    asked = {"text": "name", "label": "country", "model": "tiny", "epochs": 1, "canaries": 0, "shadows": 10}
    whole = audit(towns, **asked)
    steps: list[int] = []

    def told(done: int, total: int, unit: str) -> None:
        steps.append(done if unit == "steps of shadow models" else 0)

    # Ten models are packs of eight and two; 25 steps a pack.
    with pytest.raises(Interrupted, match="which starts anew"):
        audit(towns, **asked, work=tmp_path, on_progress=told, should_stop=lambda: steps[-1:] == [30])
    assert [path.name for path in tmp_path.glob("*/shadows/*.safetensors")] == ["pack=0.safetensors"]
    steps.clear()
    again = audit(towns, **asked, work=tmp_path, on_progress=told)
    assert min(step for step in steps if step) == 26  # the first pack was not trained again
    assert again.summary.calibration == whole.summary.calibration


def test_a_loss_that_never_falls_enough_is_said(towns: pd.DataFrame) -> None:
    found = audit(towns, text="name", label="country", model="tiny", epochs=1, learning_rate=1e-6, canaries=0)
    assert not found.summary.run.reached
    assert found.summary.run.epoch == 1
    assert "not by 95%" in found.summary.run.message
    assert "--epochs" in found.summary.run.message
    assert any("never reached" in sentence for sentence in found.summary.not_tested)
    assert found.summary.controls == []
    assert found.summary.controls_refused == "no samples were planted, as asked"


def test_the_checkpoint_rule_stops_at_a_checkpoint(towns: pd.DataFrame) -> None:
    found = audit(towns, text="name", label="country", model="tiny", epochs=8, rule="checkpoint", canaries=0)
    assert found.summary.run.reached
    per_epoch = -(-N // 8)
    assert found.summary.run.steps % (per_epoch // 5) == 0
    losses = found.losses["median_loss"].to_numpy()
    assert losses[-1] < 0.05 * losses[0]
    assert (losses[1:-1] >= 0.05 * losses[0]).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"text": "nothing"},
            "no column 'nothing' \\(text\\); its columns are 'name', 'country', 'is_wrong'",
        ),
        ({"shadows": 7}, "shadows = 7; expected an even number from 8"),
        ({"model": "/no/such/model"}, "no base model '/no/such/model'"),
        ({"template": "Where?"}, "expected a prompt that holds {text}"),
    ],
)
def test_bad_settings_get_a_sentence(towns: pd.DataFrame, change: dict, sentence: str) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        audit(towns, **{"text": "name", "label": "country", "model": "tiny", **change})


def test_bad_rows_get_a_sentence(towns: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="3 rows are too few to compare with one another"):
        audit(towns.head(3), text="name", label="country", model="tiny")
    lonely = towns.assign(country=["Atlantis", *towns["country"][1:]])
    with pytest.raises(DataError, match="the label 'Atlantis' stands at one row alone"):
        audit(lonely, text="name", label="country", model="tiny")
    many = towns.assign(country=[f"land {row % 17}" for row in range(N)])
    with pytest.raises(DataError, match=r"17 options .* more than 16"):
        audit(many, text="name", label="country", model="tiny")


def test_labels_that_begin_alike_become_letters(towns: pd.DataFrame) -> None:
    alike = towns.assign(country="country " + towns["country"])
    found = audit(alike, text="name", label="country", model="tiny", epochs=1, canaries=0)
    assert found.summary.data.answers == "letters"
    assert "A = country Brazil" in found.summary.data.answers_in_words
    assert set(found.at_risk["label"]) == set(alike["country"])
