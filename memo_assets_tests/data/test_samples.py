import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from memo_assets.config import Canaries, Prompt, Study
from memo_assets.data.items import Items
from memo_assets.data.noise import noisy_labels, template_index
from memo_assets.data.samples import build_samples, render_prompts, samples_table
from memo_assets.data.splits import pool_and_test

TRAINING = {"learning_rate": 0.1, "batch_size": 4, "epochs": 1, "checkpoints": [0.0, 1.0]}
OPTIONS = ["a", "b", "c"]


def language_study(noise=0.5, templates=("{text}?", "Q {text}\n{options}\nA:"), data_seed=3):
    return Study.model_validate(
        {
            "name": "s",
            "title": "t",
            "data": {"source": "table", "path": "p.csv", "text": "t", "label": "l"},
            "data_seed": data_seed,
            "noise": {"share": noise},
            "prompt": {"templates": list(templates)},
            "model": {"kind": "pretrained", "name": "m"},
            "lora": {"rank": 1, "alpha": 1.0},
            "training": TRAINING,
            "shadows": {"models": 4},
        }
    )


def vision_study(noise=0.5):
    return Study.model_validate(
        {
            "name": "s",
            "title": "t",
            "data": {"source": "digits"},
            "noise": {"share": noise},
            "model": {"kind": "mlp"},
            "training": TRAINING,
            "shadows": {"models": 4},
        }
    )


def with_canaries(kind, count=12):
    study = vision_study()
    return study.model_copy(update={"canaries": Canaries(kind=kind, count=count)})


def items(n=90, content="text"):
    frame = pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(n)],
            "label": [OPTIONS[k % 3] for k in range(n)],
            "options": [OPTIONS for _ in range(n)],
        }
    )
    if content == "text":
        frame["text"] = [f"text {k}" for k in range(n)]
    else:
        frame["image"] = pd.Series([np.full(4, k / n, dtype=np.float32) for k in range(n)], dtype=object)
    return Items(frame, None)


def test_parts_are_those_of_the_pool_rule():
    samples = build_samples(items(), language_study())
    pool, test = pool_and_test(90)
    assert samples["sample_id"].tolist() == list(range(90))
    assert samples.index[samples["part"] == "pool"].tolist() == pool.tolist()
    assert samples.index[samples["part"] == "test"].tolist() == sorted(test.tolist())


def test_noise_is_drawn_over_the_pool_in_order():
    samples = build_samples(items(), language_study())
    pool, test = pool_and_test(90)
    given, is_random = noisy_labels(pool % 3, np.full(len(pool), 3), 0.5, 3)
    assert samples["given_index"].to_numpy()[pool].tolist() == given.tolist()
    assert (samples["label_status"].to_numpy()[pool] == np.where(is_random, "random", "true")).all()
    assert (given != pool % 3).sum() > 10
    held = samples.iloc[test]
    assert (held["label_status"] == "true").all()
    assert (held["given_label"] == held["true_label"]).all()


def test_labels_and_indices_agree():
    samples = build_samples(items(), language_study())
    for name in ("true", "given"):
        assert samples[f"{name}_index"].dtype == np.int16
        picked = [OPTIONS[i] for i in samples[f"{name}_index"]]
        assert samples[f"{name}_label"].tolist() == picked
    assert samples["true_label"].tolist() == [OPTIONS[k % 3] for k in range(90)]


def test_each_sample_gets_the_template_drawn_for_it():
    samples = build_samples(items(), language_study())
    drawn = template_index(90, 2, 3)
    expected = [f"Q text {k}\n- a\n- b\n- c\nA:" if drawn[k] else f"text {k}?" for k in range(90)]
    assert samples["prompt"].tolist() == expected
    assert 0 < drawn.sum() < 90


def test_braces_in_a_text_are_left_alone():
    rendered = render_prompts(
        ["{options} {text} {x}"], [["{text}", "b"]], Prompt(templates=["{text}\n{options}"]), 0
    )
    assert rendered == ["{options} {text} {x}\n- {text}\n- b"]


def test_hash_follows_what_the_model_is_given():
    before = build_samples(items(), language_study(noise=0.0))
    assert before["content_hash"].is_unique
    assert before["content_hash"].str.fullmatch("[0-9a-f]{64}").all()
    noisy = build_samples(items(), language_study(noise=0.5))
    changed = before["content_hash"] != noisy["content_hash"]
    assert changed.tolist() == (noisy["given_label"] != noisy["true_label"]).tolist()
    other_form = build_samples(items(), language_study(noise=0.0, templates=("{text}!",)))
    assert not set(other_form["content_hash"]) & set(before["content_hash"])


def test_vision_samples():
    samples = build_samples(items(content="image"), vision_study())
    assert "text" not in samples
    assert "prompt" not in samples
    assert samples["image"].iloc[9].dtype == np.float32
    assert samples["content_hash"].is_unique
    assert (samples["given_label"] != samples["true_label"]).any()


@pytest.mark.parametrize("content", ["text", "image"])
def test_parquet_is_the_same_bytes_and_comes_back_as_it_was(tmp_path, content):
    study = language_study() if content == "text" else vision_study()
    for name in ("one", "two"):
        pq.write_table(samples_table(build_samples(items(content=content), study)), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    samples = build_samples(items(content=content), study)
    back = pq.read_table(tmp_path / "one").to_pandas()
    assert set(back.columns) == set(samples.columns)
    assert [list(row) for row in back["options"]] == samples["options"].tolist()
    plain = [name for name in back.columns if name not in ("options", "image")]
    assert back[plain].to_dict("list") == samples[plain].to_dict("list")
    if content == "image":
        assert (np.stack(back["image"].to_list()) == np.stack(samples["image"].to_list())).all()


def test_clean_canaries_are_marked_and_nothing_else():
    plain = build_samples(items(content="image"), vision_study())
    samples = build_samples(items(content="image"), with_canaries("clean"))
    marked = samples[samples["canary"].notna()]
    assert len(marked) == 12
    assert set(marked["part"]) == {"pool"}
    assert set(marked["label_status"]) == {"true"}
    pd.testing.assert_frame_equal(samples.drop(columns="canary"), plain)
    assert samples["canary"].dropna().unique().tolist() == ["clean"]


def test_canaries_out_of_distribution_have_another_image_and_label():
    plain = build_samples(items(content="image"), vision_study())
    samples = build_samples(items(content="image"), with_canaries("ood"))
    is_canary = (samples["canary"] == "ood").to_numpy()
    assert is_canary.sum() == 12
    columns = [name for name in plain.columns if name != "image"]
    pd.testing.assert_frame_equal(samples.loc[~is_canary, columns], plain.loc[~is_canary, columns])
    assert (np.stack(samples["image"].to_list()) != np.stack(plain["image"].to_list())).any(
        axis=1
    ).tolist() == is_canary.tolist()
    canaries = samples[is_canary]
    assert canaries["item_id"].str.startswith("ood/").all()
    assert canaries["item_id"].is_unique
    assert (canaries["true_label"] == canaries["given_label"]).all()
    assert (canaries["true_index"] == canaries["given_index"]).all()
    assert [OPTIONS[index] for index in canaries["given_index"]] == canaries["given_label"].tolist()
    assert set(canaries["label_status"]) == {"true"}
    assert (canaries["content_hash"] != plain.loc[is_canary, "content_hash"]).all()


def test_canaries_are_kept_in_the_file(tmp_path):
    samples = build_samples(items(content="image"), with_canaries("ood"))
    pq.write_table(samples_table(samples), tmp_path / "samples.parquet")
    back = pq.read_table(tmp_path / "samples.parquet")
    kinds = back.column("canary").to_pylist()
    assert [kind == "ood" for kind in kinds] == (samples["canary"] == "ood").tolist()
    assert kinds.count(None) == len(samples) - 12


@pytest.mark.parametrize("kind", ["clean", "ood"])
def test_canaries_have_the_colours_and_shape_of_the_images(kind):
    given = items(content="image")
    given.frame["image"] = pd.Series([np.full(18, k / 90, np.float32) for k in range(90)], dtype=object)
    given.frame["image_shape"] = [[3, 3, 2]] * 90
    samples = build_samples(given, with_canaries(kind))
    assert samples["image_shape"].map(tuple).unique().tolist() == [(3, 3, 2)]
    assert samples_table(samples).column("image_shape").to_pylist() == [[3, 3, 2]] * 90
    pixels = np.stack(samples["image"].to_list())
    assert pixels.shape == (90, 18)
    is_new = (pixels != np.stack(given.frame["image"].to_list())).any(axis=1)
    assert is_new.tolist() == ((samples["canary"] == "ood").tolist())
    if kind == "ood":  # photographs: their channels differ
        channels = pixels[is_new].reshape(-1, 3, 6)
        assert (channels[:, 0] != channels[:, 2]).any()
