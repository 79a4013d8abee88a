"""Tiny worlds for the tests of training: random models and samples, no downloads."""

import dataclasses
from typing import Literal

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from memo_assets.config import Augmentation, Lora, Training
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.models.packed_mlp import PackedMlp
from memo_assets.models.packed_wide_resnet import PackedWideResNet
from memo_assets.training.language import LanguageTask
from memo_assets.training.vision import VisionTask
from memo_assets_tests.models.small_models import random_model

VOCABULARY = 120
ALL_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


def tiny_llama(*, tied: bool = False) -> LlamaForCausalLM:
    """Two blocks of width 32, random but the same at every call."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def random_samples(n: int = 64) -> TokenizedSamples:
    """Contexts of 3 to 15 random tokens; two to four options of one token; random given labels."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(3, 16, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n_options = rng.integers(2, 5, n)
    options = np.where(np.arange(4) < n_options[:, None], np.array([11, 12, 13, 14]), -1)
    ids = rng.integers(20, VOCABULARY, offsets[-1]).astype(np.int32)
    return TokenizedSamples(ids, offsets, options[:, :, None], rng.integers(0, n_options))


def long_options(n: int = 64) -> TokenizedSamples:
    """The same contexts with options of one to three tokens, of which some begin alike, judged as a whole."""
    samples = random_samples(n)
    tokens = np.array([[11, -1, -1], [12, 15, -1], [12, 16, 17], [13, 14, -1]])
    options = np.where(samples.option_tokens == -1, -1, tokens)
    return dataclasses.replace(samples, option_tokens=options, scoring="sequence")


def language_task(
    seeds: list[int],
    *,
    dropout: float = 0.0,
    tied: bool = False,
    alpha: float = 8.0,
    samples: TokenizedSamples | None = None,
    loss: Literal["answer", "text"] = "answer",
) -> LanguageTask:
    """All projections and lm_head, rank 4; by default over `random_samples`."""
    lora = Lora(rank=4, alpha=alpha, dropout=dropout, targets=ALL_TARGETS)
    return LanguageTask(tiny_llama(tied=tied), samples or random_samples(), lora, seeds=seeds, loss=loss)


def vision_task(seeds: list[int]) -> VisionTask:
    """64 random images of 12 pixels, three classes, hidden layers 10 and 10."""
    rng = np.random.default_rng(6)
    images = rng.random((64, 12), dtype=np.float32)
    return VisionTask(
        PackedMlp([12, 10, 10, 3], seeds), images, rng.integers(0, 3, 64), image_shape=(3, 2, 2)
    )


def resnet_task(seeds: list[int]) -> VisionTask:
    """64 random images of 8 x 8 pixels, three classes, the smallest wide residual network, flips and shifts."""
    rng = np.random.default_rng(6)
    images = rng.random((64, 64), dtype=np.float32)
    network = PackedWideResNet((1, 8, 8), 3, depth=10, width=1, seeds=seeds)
    augmentation = Augmentation(flip=True, shift=1)
    return VisionTask(
        network, images, rng.integers(0, 3, 64), image_shape=(1, 8, 8), augmentation=augmentation
    )


def train_rows(seeds: list[int], n: int = 40) -> np.ndarray:
    """Each split seed's own n of 64 samples."""
    return np.stack([np.random.RandomState(seed).choice(64, n, replace=False) for seed in seeds])


def recipe(epochs: int, checkpoints: list[float] | None = None, **changes: object) -> Training:
    """Batches of 8, peak rate 0.01, three warm-up steps, then linear."""
    settings: dict[str, object] = {
        "learning_rate": 1e-2,
        "batch_size": 8,
        "epochs": epochs,
        "checkpoints": checkpoints or [0.0, float(epochs)],
        "warmup_steps": 3,
        "schedule": "linear",
        "weight_decay": 0.01,
    }
    return Training.model_validate({**settings, **changes})


def small_model(model_type: str, **settings: object) -> PreTrainedModel:
    """Two random blocks of any architecture, for the vocabulary of these tests."""
    return random_model(model_type, head_dim=8, vocab_size=VOCABULARY, initializer_range=0.2, **settings)


def perturbed(task: LanguageTask) -> LanguageTask:
    """The task with adapters that all do something, the same at every call."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in task.parameters().items():
            if name.endswith("lora_B"):
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return task
