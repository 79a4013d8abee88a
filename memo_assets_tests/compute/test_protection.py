"""What workers make for protected variants: trained otherwise, asked the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from memo_assets.compute import steps
from memo_assets.compute.inputs import read_samples, training_set
from memo_assets.config import Study
from memo_assets.data.protection import protected_samples
from memo_assets.measures.lira import logit_gap
from memo_assets.store.files import read_json, write_parquet
from memo_assets.store.layout import Layout

from .small_items import item, small_study, write_inputs

SEEDS = [0, 1]


def made(warehouse: Path, **protection: Any) -> tuple[Study, Layout]:
    """A variant of the small study with its inputs; every fifth sample of the pool is at risk."""
    block = {"base": "tiny", "mitigation": "x", **protection}
    of = small_study({"protection": block, "training.trigger": {"window": 20, "drop": 0.3}})
    layout = write_inputs(warehouse, of)
    if of.protection is not None and of.protection.at_risk is not None:
        samples = pd.read_parquet(layout.samples)
        pool = samples[samples["part"] == "pool"]
        flagged = np.arange(len(pool)) % 5 == 0
        audit = pd.DataFrame(
            {
                "sample_id": pool["sample_id"],
                "flagged": flagged,
                "psmi": np.where(flagged, -1.0, 1.0),
                "suspected_index": (pool["given_index"].to_numpy().astype(np.int64) + 1) % 10,
            }
        )
        frame = protected_samples(samples, audit, of.protection.at_risk)
        write_parquet(layout.protected, pa.Table.from_pandas(frame, preserve_index=False))
    return of, layout


def versions(warehouse: Path, of: Study) -> list[str]:
    found = steps.adapters(item(warehouse, of, "adapters", SEEDS), lambda *_: None)
    return [found[seed].data_version for seed in SEEDS]


@pytest.mark.parametrize("at_risk", ["drop", "replace", "relabel"])
def test_the_flagged_samples_themselves_reach_no_model(tmp_path: Path, at_risk: str) -> None:
    """As images they may be others when they are dropped or replaced; as labels when they are relabelled."""
    of, layout = made(tmp_path / "a", at_risk=at_risk)
    first = versions(tmp_path / "a", of)
    samples = pd.read_parquet(layout.samples)
    at_places = samples["sample_id"].isin(pd.read_parquet(layout.protected)["sample_id"]).to_numpy()
    of, layout = made(tmp_path / "b", at_risk=at_risk)
    table = pq.read_table(layout.samples)
    name = "given_index" if at_risk == "relabel" else "image"
    values = table.column(name).to_pylist()
    if at_risk == "relabel":
        new = [(v + 3) % 10 if hit else v for v, hit in zip(values, at_places, strict=True)]
    else:
        new = [[1 - x for x in v] if hit else v for v, hit in zip(values, at_places, strict=True)]
    place = table.schema.get_field_index(name)
    write_parquet(layout.samples, table.set_column(place, table.schema.field(place), pa.array(new, table.schema.field(place).type)))  # fmt: skip
    assert versions(tmp_path / "b", of) == first
    _, plain = (
        of,
        write_inputs(tmp_path / "c", small_study({"training.trigger": {"window": 20, "drop": 0.3}})),
    )
    assert versions(tmp_path / "c", small_study({"training.trigger": {"window": 20, "drop": 0.3}})) != first
    assert read_json(plain.training_log(0)).keys() == {"item", "checkpoints"}


def test_replacements_keep_the_number_and_the_labels_of_training_samples(tmp_path: Path) -> None:
    of, layout = made(tmp_path, at_risk="replace")
    work = item(tmp_path, of, "adapters", SEEDS)
    samples = read_samples(work)
    found = training_set(work, samples)
    at_risk = samples["sample_id"].isin(pd.read_parquet(layout.protected)["sample_id"]).to_numpy()
    ids, labels = samples["sample_id"].to_numpy(), samples["given_index"].to_numpy()
    for k, seed in enumerate(SEEDS):
        mask = pq.read_table(layout.split_mask(seed)).column("sample_id").to_numpy()
        own = ids[found.rows[k]]
        assert len(own) == len(mask)
        assert set(own) <= set(mask)
        assert sorted(labels[found.rows[k]]) == sorted(labels[np.searchsorted(ids, mask)])
        assert at_risk[found.rows[k]].mean() < 0.05 < at_risk[np.searchsorted(ids, mask)].mean()


def test_logits_are_asked_with_the_label_that_was_given(tmp_path: Path) -> None:
    of, layout = made(tmp_path, at_risk="relabel")
    steps.adapters(item(tmp_path, of, "adapters", SEEDS), lambda *_: None)
    steps.logits(item(tmp_path, of, "logits", SEEDS), lambda *_: None)
    rows = pd.read_parquet(layout.logits(0))
    last = rows[rows["epoch"] == rows["epoch"].max()]
    given = pd.read_parquet(layout.samples)["given_index"].to_numpy()
    expected = logit_gap(np.stack(last["option_logits"].to_list()), given)
    np.testing.assert_allclose(last["logit_gap"], expected, rtol=1e-6)


def test_epsilon_stands_in_the_training_log_and_in_the_facts(tmp_path: Path) -> None:
    dp = {"noise_multiplier": 1.0, "max_norm": 1.0, "delta": 1e-3}
    of, layout = made(tmp_path, dp=dp)
    found = steps.adapters(item(tmp_path, of, "adapters", SEEDS), lambda *_: None)
    privacy = read_json(layout.training_log(1))["privacy"]
    assert 0 < privacy["epsilon"] < 100
    said = str(found[1].facts["privacy"])
    assert said.startswith(f"epsilon {privacy['epsilon']:.4g} at delta 0.001, accounted as if")
    assert said.endswith("they are shuffled, so it is no proof")


def test_the_last_checkpoint_alone_is_pruned_when_it_is_asked(tmp_path: Path) -> None:
    of, layout = made(tmp_path / "pruned", prune=0.5)
    plain = small_study({"training.trigger": {"window": 20, "drop": 0.3}})
    write_inputs(tmp_path / "plain", plain)
    assert versions(tmp_path / "pruned", of) == versions(tmp_path / "plain", plain)  # pruned on reading
    for warehouse, one in ((tmp_path / "pruned", of), (tmp_path / "plain", plain)):
        steps.logits(item(warehouse, one, "logits", SEEDS), lambda *_: None)
    ours, theirs = (
        pd.read_parquet(Layout(tmp_path / name, "tiny").logits(0)) for name in ("pruned", "plain")
    )
    last = (ours["epoch"] == 2).to_numpy()
    pd.testing.assert_frame_equal(ours[~last], theirs[~last])
    assert (ours[last]["logit_gap"] != theirs[last]["logit_gap"]).mean() > 0.9
    # By hand: halve each matrix, run the perceptron.
    weights = load_file(next(layout.adapter(0, 2).glob("*.safetensors")))
    images = np.stack(pd.read_parquet(layout.samples)["image"].to_list()).astype(np.float64)
    x = images
    names = sorted(name for name in weights if weights[name].ndim == 2)
    for place, name in enumerate(names):
        matrix = weights[name].astype(np.float64)
        flat = matrix.ravel()
        flat[np.argsort(np.abs(flat), kind="stable")[: flat.size // 2]] = 0
        x = x @ matrix.T + weights[name.replace("weights", "biases")]
        x = np.maximum(x, 0) if place < len(names) - 1 else x
    np.testing.assert_allclose(np.stack(ours[last]["option_logits"].to_list()), x, atol=1e-4)
