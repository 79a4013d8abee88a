"""A tiny study and its protected variants from raw data to the table and figure of the comparison."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from memo_assets.assets.comparison import figure_key
from memo_assets.assets.mitigations import KEY
from memo_assets.assets.spec import asset_key
from memo_assets.compute.local import LocalExecutor
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.graph import AUDIT, steps
from memo_assets.instance import open_instance
from memo_assets.pipeline import RunFailed, bring_up_to_date
from memo_assets.status import partition_keys, study_state
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets.study_file import read_variants
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.studies import DIGITS, changed, write_study

pytestmark = pytest.mark.slow

PROTECTIONS = {
    "drop": {"at_risk": "drop"},
    "relabel": {"at_risk": "relabel"},
    "dp": {"dp": {"noise_multiplier": 1.0, "max_norm": 1.0, "delta": 1e-3}},
    "prune": {"prune": 0.3},
}
SETTINGS = changed(
    DIGITS,
    {
        "data.items": 240,
        "noise.share": 0.15,
        "model.width": 32,
        "training.epochs": 12,
        "training.checkpoints": [0, 2, 4, 12],
        "shadows.models": 16,
        "shadows.membership": "paired",
        "scores": {"psmi_directions": 20, "smi_directions": 2, "loss_drop": 0.5},
        "compute": {"device": "cpu", "pack": 16, "workers": 1, "threads": 1},
    },
)
LIGHT = ("raw_dataset", "samples", "protected")


class World:
    """A warehouse with a study and its variants."""

    def __init__(self, folder: Path, executor: LocalExecutor, instance: dg.DagsterInstance) -> None:
        self.base, *variants = read_variants(
            write_study(folder / "study", {**SETTINGS, "protections": PROTECTIONS})
        )
        self.variants = dict(zip(PROTECTIONS, variants, strict=True))
        self.folder, self.instance, self.recorder = folder, instance, Recorder()
        resources = {"observer": self.recorder, "executor": executor}
        self.definitions = build_defs([self.base, *variants], resources)

    def run(self, *keys: dg.AssetKey, partitions: list[str] | None = None) -> None:
        job = self.definitions.resolve_implicit_job_def_def_for_assets(list(keys))
        assert job is not None
        ends = zip(("start", "end"), (partitions[0], partitions[-1]) if partitions else (), strict=False)
        tags = {f"dagster/asset_partition_range_{end}": partition for end, partition in ends}
        assert job.execute_in_process(instance=self.instance, asset_selection=list(keys), tags=tags).success

    def make(self, of: Study, *, predictors: bool = False) -> None:
        """Everything up to the labels, and with `predictors` to the prediction epoch; figures and reports are left out."""
        self.run(*(asset_key(of, name) for name in LIGHT if name in steps(of)))
        names = [
            "split_masks",
            "adapters",
            "logits",
            *(["layer_scores"] if predictors else []),
            "shadow_logits",
        ]
        for name in names:
            self.run(
                asset_key(of, name), partitions=[key for key in partition_keys(of, name) if key is not None]
            )
        last = ["predictor_scores", "predictor_evaluation"] if predictors else []
        self.run(*(asset_key(of, name) for name in ("memorization", *last)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mitigations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMO_WAREHOUSE", str(folder / "warehouse"))
        patch.setenv("DAGSTER_HOME", str(folder / "warehouse" / "dagster_home"))
        patch.setenv("BROWSER_PATH", str(folder / "none"))
        with open_instance() as instance:
            made = World(folder, executor, instance)
            made.make(made.base, predictors=True)
            with pytest.raises(
                RunFailed, match=r"tiny_drop/protected needs the audit of study tiny, and .* is not"
            ):
                bring_up_to_date(made.variants["drop"], made.definitions, instance, made.recorder)
            made.run(dg.AssetKey([made.base.name, AUDIT]))
            for variant in made.variants.values():
                made.make(variant)
            made.run(KEY, figure_key("figure_mitigations"))
            yield made


def table() -> pd.DataFrame:
    with reading() as connection:
        return connection.execute("SELECT * FROM mitigation_comparison").df()


def cell(frame: pd.DataFrame, mitigation: str, group: str) -> dict[str, Any]:
    (row,) = frame[(frame["mitigation"] == mitigation) & (frame["sample_group"] == group)].to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_the_table_has_every_protection_and_both_groups(world: World) -> None:
    frame = table()
    assert set(frame["mitigation"]) == {"none", "early_stopping", *PROTECTIONS}
    assert len(frame) == 3 * (2 + len(PROTECTIONS))
    assert set(frame["study"]) == {"tiny"}
    audit = pd.read_parquet(Layout.of("tiny").audit_scores)
    for name in set(frame["mitigation"]):
        protected, left, both = (cell(frame, name, group) for group in ("protected", "left", "all"))
        assert (protected["n"], both["n"]) == (audit["flagged"].sum(), len(audit))
        assert protected["n"] + left["n"] == both["n"]
        assert protected["newly_memorized"] + left["newly_memorized"] == both["newly_memorized"]
    none = cell(frame, "none", "all")
    assert none["share_memorized"] == none["share_memorized_before"] == pytest.approx(0.1, abs=0.01)
    early = cell(frame, "early_stopping", "all")
    assert (none["epoch"], early["epoch"]) == (12, early["epoch"])
    assert 0 < early["epoch"] < 12
    assert early["train_accuracy"] < none["train_accuracy"]


def test_what_is_dropped_is_told_from_what_was_not_by_no_attack(world: World) -> None:
    """An AUC of samples that no model was trained on is that of chance: 30 samples and 16 models scatter by some .05."""
    frame = table()
    assert cell(frame, "none", "protected")["attack_auc"] > 0.7
    assert abs(cell(frame, "drop", "protected")["attack_auc"] - 0.5) < 0.13
    assert cell(frame, "drop", "left")["attack_auc"] > 0.52


def test_models_are_trained_without_the_samples_at_risk(world: World) -> None:
    layout, base = Layout.of("tiny_drop"), Layout.of("tiny")
    protected = pd.read_parquet(layout.protected)
    for seed in (0, 5):
        masks = [pq.read_table(one.split_mask(seed)) for one in (layout, base)]
        assert masks[0].equals(masks[1])  # nominal membership stays
        ids = set(masks[0].column("sample_id").to_pylist()) & set(protected["sample_id"])
        fitted = {}
        for name, one in (("drop", layout), ("none", base)):
            rows = pd.read_parquet(one.logits(seed))
            last = rows[(rows["epoch"] == 12) & rows["sample_id"].isin(ids)]
            fitted[name] = float(last["loss"].mean())
        assert fitted["drop"] > fitted["none"] + 0.1


def test_epsilon_is_in_the_log_and_in_the_table(world: World) -> None:
    said = read_json(Layout.of("tiny_dp").training_log(3))["privacy"]
    frame = table()
    assert cell(frame, "dp", "left")["epsilon"] == said["epsilon"] > 0
    assert np.isnan(cell(frame, "prune", "left")["epsilon"])
    event = world.instance.get_latest_materialization_event(dg.AssetKey(["tiny_dp", "adapters"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert "Poisson" in str(event.asset_materialization.metadata["privacy"].value)


def test_pruned_models_are_those_of_the_study_with_fewer_weights(world: World) -> None:
    assert (
        read_json(Layout.of("tiny_prune").training_log(0))["checkpoints"]
        == (read_json(Layout.of("tiny").training_log(0))["checkpoints"])
    )
    ours, theirs = (pd.read_parquet(Layout.of(name).logits(0)) for name in ("tiny_prune", "tiny"))
    last = (ours["epoch"] == 12).to_numpy()
    pd.testing.assert_frame_equal(ours[~last], theirs[~last])
    assert (ours[last]["loss"] != theirs[last]["loss"]).mean() > 0.9


def test_the_figure_shows_all_protections(world: World) -> None:
    figure = json.loads(Layout.of("comparison").figure("figure_mitigations", "json").read_text())
    points, *bars = figure["data"][:3]
    assert [text.partition(",")[0] for text in points["text"]] == ["none", "early_stopping", *PROTECTIONS]
    assert [one["name"] for one in bars] == ["Samples left", "Samples at risk"]


def test_what_was_made_is_fresh_and_suspected_labels_are_used(world: World) -> None:
    names = ["protected", "split_masks", "adapters", "logits", "shadow_logits", "memorization"]
    states = study_state(world.variants["drop"], world.definitions, world.instance, names)
    assert [(state.name, part.cause) for state in states for part in state.todo] == []
    with duckdb.connect() as connection:
        path = str(Layout.of("tiny_relabel").protected)
        found = connection.execute("SELECT DISTINCT action FROM read_parquet(?)", [path]).fetchall()
    assert ("relabel",) in found
