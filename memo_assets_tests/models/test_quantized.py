"""Adapters over a base model quantized by bitsandbytes, on a CPU: against PEFT on the very same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn import functional

from memo_assets.config import Lora
from memo_assets.models.base import load_base
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import train
from memo_assets_tests.models.small_models import save_small_model
from memo_assets_tests.training import random_samples, recipe, train_rows

LORA = Lora(rank=4, alpha=8, targets=["q_proj", "down_proj", "lm_head"])
QUANTIZED = ["nf4", "int8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / "model"
    save_small_model(path, "llama", ["one two three four five"] * 20)
    return path


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_a_trained_adapter_gives_in_peft_what_it_gives_packed(folder: Path, tmp_path: Path, dtype: str):
    samples, seeds = random_samples(), [0, 3]
    model, _ = load_base(folder, dtype)  # pyright: ignore[reportArgumentType]
    weights = dict(model.named_parameters())
    assert not weights["model.layers.0.mlp.up_proj.weight"].is_floating_point()
    assert weights["lm_head.weight"].dtype == torch.float32
    task = LanguageTask(model, samples, LORA, seeds=seeds)
    before = task.predict(np.arange(12), hidden=False).loss
    rows = train_rows(seeds)
    train(
        task,
        rows,
        recipe(2),
        state_path=tmp_path / "state.safetensors",
        on_checkpoint=lambda *_: None,
    )
    found = task.predict(np.arange(12), hidden=False)
    assert all(bool((task.parameters()[f"{name}.lora_B"] != 0).any()) for name in _modules(task))
    assert float(task.predict(rows[0], hidden=False).loss[0].mean()) < float(before.mean())
    for k in range(2):
        task.export(k, tmp_path / f"adapter{k}")
        base, _ = load_base(folder, dtype)  # pyright: ignore[reportArgumentType]
        peft = PeftModel.from_pretrained(base, tmp_path / f"adapter{k}").eval()
        for row in range(12):
            ids = torch.from_numpy(samples.ids[samples.offsets[row] : samples.offsets[row + 1]]).long()[None]
            with torch.no_grad():
                logits = peft(ids).logits[0, -1].float()
            answer = torch.tensor(int(samples.option_tokens[row, samples.given_index[row], 0]))
            expected = functional.cross_entropy(logits, answer)
            assert found.loss[k, row].item() == pytest.approx(expected.item(), abs=TOLERANCE[dtype])


# int8 rounds every row of activations, so that padding and other rows in a pass change the last digits.
TOLERANCE = {"nf4": 1e-4, "int8": 2e-2}


def _modules(task: LanguageTask) -> list[str]:
    return sorted({name.rpartition(".")[0] for name in task.parameters()})


def test_the_model_may_be_placed_by_a_map_and_told_its_attention(folder: Path):
    model, _ = load_base(folder, "fp32", attention="eager", device_map={"": "cpu"})
    plain, _ = load_base(folder, "fp32")
    assert model.config._attn_implementation == "eager"
    ids = torch.arange(20, 30)[None]
    torch.testing.assert_close(model(ids).logits, plain(ids).logits, atol=1e-5, rtol=1e-5)
