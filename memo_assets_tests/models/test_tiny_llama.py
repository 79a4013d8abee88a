from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from memo_assets.config import TinyLlama
from memo_assets.models import tiny_llama
from memo_assets.models.tiny_llama import base_model_hash, pretrain_tiny_llama, pretraining_sentences


def config(**changes):
    fields = {
        "kind": "tiny_llama",
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "vocabulary": 320,
        "sentences": ["{text} lies in {label}."],
        "epochs": 40,
        "learning_rate": 0.01,
        "batch_size": 8,
    }
    return TinyLlama.model_validate(fields | changes)


# The ending tells the country, so that a few steps teach it.
BACKGROUND = pd.DataFrame(
    {
        "text": [
            f"{name}{ending}"
            for name in ("Ba", "Lo", "Mü", "Ti", "Ka", "Re", "So", "Pa")
            for ending in ("dorf", "pur")
        ],
        "label": ["Germany", "India"] * 8,
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "base"
    return out, pretrain_tiny_llama(BACKGROUND, config(), out)


def test_it_loads_like_any_model_and_knows_the_names(made):
    out, run = made
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert tokenizer.is_fast
    assert model.config.vocab_size == len(tokenizer)
    assert run.epoch_losses[-1] < run.epoch_losses[0] / 2
    for name, label in (("Badorf", "Germany"), ("Bapur", "India"), ("Müdorf", "Germany")):
        ids = tokenizer(f"{name} lies in", return_tensors="pt")["input_ids"]
        assert ids[0, 0] == tokenizer.bos_token_id
        answers = [
            tokenizer.encode(f" {country}", add_special_tokens=False)[0] for country in ("Germany", "India")
        ]
        logits = model(ids).logits[0, -1, answers]
        assert ("Germany", "India")[int(logits.argmax())] == label


def test_the_loaded_tokenizer_is_the_one_of_the_training(made):
    out, _ = made
    tokenizer = AutoTokenizer.from_pretrained(out)
    sentences = pretraining_sentences(BACKGROUND, config().sentences)
    trained = tiny_llama._train_tokenizer(sentences, 320)
    texts = [*sentences, "Çok güzel 東京\n- a  b", " leading"]
    assert tokenizer(texts)["input_ids"] == trained(texts)["input_ids"]
    for text in texts:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_same_seed_same_bytes_other_seed_others(made, tmp_path):
    out, _ = made
    pretrain_tiny_llama(BACKGROUND, config(), tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert (tmp_path / "again/tokenizer.json").read_bytes() == (out / "tokenizer.json").read_bytes()
    pretrain_tiny_llama(BACKGROUND, config(seed=1), tmp_path / "other")
    assert (tmp_path / "other/model.safetensors").read_bytes() != (out / "model.safetensors").read_bytes()


def test_the_callers_random_state_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretrain_tiny_llama(BACKGROUND, config(epochs=1), tmp_path / "base")
    assert torch.equal(torch.rand(3), expected)


def test_progress_counts_every_step(tmp_path):
    seen = []
    run = pretrain_tiny_llama(
        BACKGROUND,
        config(epochs=2),
        tmp_path / "base",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (run.sentences, run.steps, len(run.epoch_losses)) == (16, 4, 2)


def test_a_crash_leaves_nothing(tmp_path, monkeypatch):
    def crash(*_arguments, **_settings):
        raise OSError("disk full")

    monkeypatch.setattr(tiny_llama.PreTrainedTokenizerFast, "save_pretrained", crash)
    with pytest.raises(OSError, match="disk full"):
        pretrain_tiny_llama(BACKGROUND, config(epochs=1), tmp_path / "base")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_never_overwritten(made):
    out, _ = made
    with pytest.raises(FileExistsError, match="exists: load the base model from there"):
        pretrain_tiny_llama(BACKGROUND, config(), out)


def test_the_first_of_two_processes_wins(tmp_path, monkeypatch):
    save = tiny_llama.PreTrainedTokenizerFast.save_pretrained
    out = tmp_path / "base"

    def slow_save(self, directory):
        out.mkdir()
        (out / "first").touch()
        return save(self, directory)

    monkeypatch.setattr(tiny_llama.PreTrainedTokenizerFast, "save_pretrained", slow_save)
    pretrain_tiny_llama(BACKGROUND, config(epochs=1), out)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert [path.name for path in out.iterdir()] == ["first"]


def test_hash_covers_settings_data_order_and_libraries(monkeypatch):
    before = base_model_hash(BACKGROUND, config())
    assert before == base_model_hash(BACKGROUND.copy(), config())
    assert len(before) == 64
    others = [
        base_model_hash(BACKGROUND, config(seed=1)),
        base_model_hash(BACKGROUND, config(vocabulary=400)),
        base_model_hash(BACKGROUND.iloc[::-1], config()),
        base_model_hash(BACKGROUND.assign(label="India"), config()),
    ]
    monkeypatch.setattr(tiny_llama, "version", lambda name: "0" if name == "tokenizers" else version(name))
    others.append(base_model_hash(BACKGROUND, config()))
    assert len({before, *others}) == 6


def test_sentences_fill_every_template_with_every_name():
    two = pd.DataFrame({"text": ["A{label}", "B"], "label": ["x", "y"]})
    assert pretraining_sentences(two, ["{text} in {label}", "{label}: {text}"]) == [
        "A{label} in x",
        "B in y",
        "x: A{label}",
        "y: B",
    ]


def test_sentences_that_cannot_teach():
    with pytest.raises(ValueError, match="must hold both"):
        pretraining_sentences(BACKGROUND, ["{text} is a town."])
    with pytest.raises(ValueError, match=r"lower data.items"):
        pretraining_sentences(BACKGROUND.iloc[:0], ["{text} {label}"])


def test_batches_hold_every_row_once_and_like_lengths():
    lengths = np.random.RandomState(0).randint(5, 40, size=515).tolist()
    batches = list(tiny_llama._batches(lengths, 16, np.random.RandomState(1)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(515))
    spread = np.mean([np.ptp(np.asarray(lengths)[batch]) for batch in batches])
    assert spread < 5
