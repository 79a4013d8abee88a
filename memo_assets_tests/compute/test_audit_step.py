"""The step `audit` of a study of digits: what it writes, against models and measures by hand, and after an interruption."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.compute.audit_step import SEED, audit, audit_recipe
from memo_assets.compute.inputs import make_task, read_samples
from memo_assets.compute.items import NO_SEED, WorkItem
from memo_assets.config import Study
from memo_assets.measures.evaluation import evaluate
from memo_assets.measures.psmi import psmi
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted
from memo_assets.training.loop import train

from .small_items import item, small_study, write_inputs

CHANGES = {
    "data.items": 900,
    "noise.share": 0.1,
    "training.epochs": 20,
    "training.checkpoints": [0, 20],
    "scores.psmi_directions": 100,
    "scores.loss_drop": 0.9,
    "model.width": 32,
}


def nothing(done: int, total: int, unit: str = "steps") -> None:
    assert done <= total


def audited(warehouse: Path, **changes: object) -> tuple[Study, WorkItem, Layout]:
    of = small_study({**CHANGES, **changes})
    return of, item(warehouse, of, "audit", []), write_inputs(warehouse, of)


def test_it_stops_early_and_ranks_wrong_labels_first(warehouse: Path) -> None:
    of, given, layout = audited(warehouse)
    result = audit(given, nothing)[NO_SEED]
    run, scores = read_json(layout.audit_run), pd.read_parquet(layout.audit_scores)
    assert run["reached"]
    assert run["median_loss"] <= 0.1 * run["reference_loss"]
    assert 0 < run["steps"] < run["steps_of_all_epochs"]
    samples = pd.read_parquet(layout.samples)
    pool = samples[samples["part"] == "pool"].set_index("sample_id")
    assert scores["sample_id"].tolist() == pool.index.tolist()
    wrong = (pool["given_label"] != pool["true_label"]).to_numpy()
    assert wrong.sum() > 20
    assert evaluate(scores["psmi"], wrong, higher_is_riskier=False).auc > 0.85
    assert result.facts == {
        "reached": True, "epoch": run["epoch"], "steps": run["steps"], "samples": len(pool),
        "flagged": int((scores["psmi"] < 0).sum()),
    }  # fmt: skip
    check_by_hand(of, given, layout, run, scores)


def check_by_hand(of: Study, given: WorkItem, layout: Layout, run: dict, scores: pd.DataFrame) -> None:
    """The same model, trained by the loop alone to the same step, gives the same hidden states and losses."""
    samples = read_samples(given)
    rows = np.flatnonzero(samples["part"] == "pool")
    task = make_task(given.model_copy(update={"seeds": [SEED]}), samples)
    made: list[int] = []
    with pytest.raises(Interrupted):
        train(
            task,
            rows[None],
            audit_recipe(of, len(rows)).model_copy(update={"trigger": None}),
            state_path=layout.root / "by_hand.safetensors",
            on_checkpoint=lambda *_: None,
            on_progress=lambda done, _: made.append(done),
            should_stop=lambda: bool(made) and made[-1] == run["steps"],
        )
    outputs = forward(task, rows, hidden=True)
    assert outputs.hidden is not None
    np.testing.assert_array_equal(scores["loss"], outputs.loss[0].astype(np.float64))
    labels = samples["given_label"].to_numpy()[rows]
    expected = psmi(outputs.hidden[-1][0], labels, n_directions=100).mean
    np.testing.assert_array_equal(scores["psmi"], expected)


def test_an_interrupted_audit_ends_with_the_same_files(warehouse: Path, tmp_path: Path) -> None:
    _, given, layout = audited(warehouse)
    whole = audit(given, nothing)[NO_SEED].data_version
    other = tmp_path / "other"
    _, again, _ = audited(other)
    for limit in (1, 7, 60):
        asked: list[int] = []
        with pytest.raises(Interrupted):
            audit(again, nothing, lambda asked=asked, limit=limit: asked.append(1) or len(asked) >= limit)
    assert not Layout(other, layout.study).audit_scores.exists()
    assert audit(again, nothing)[NO_SEED].data_version == whole


def test_a_loss_that_never_falls_is_recorded(warehouse: Path) -> None:
    _, given, layout = audited(
        warehouse, **{"training.learning_rate": 1e-6, "training.epochs": 1, "training.checkpoints": [0, 1]}
    )
    assert audit(given, nothing)[NO_SEED].facts["reached"] is False
    run = read_json(layout.audit_run)
    assert run["epoch"] == 1
    assert run["steps"] == run["steps_of_all_epochs"]


def test_a_trigger_of_the_study_is_its_own(warehouse: Path) -> None:
    of = small_study({**CHANGES, "scores.loss_drop": 0.95, "training.trigger": {"window": 40, "drop": 0.5}})
    recipe = audit_recipe(of, 30)
    assert recipe.trigger is not None
    assert (recipe.trigger.window, recipe.trigger.drop) == (30, 0.5)
    assert recipe.checkpoints == [float(epoch) for epoch in range(21)]
