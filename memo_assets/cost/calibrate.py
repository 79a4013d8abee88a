"""Seconds of a few steps of a study on this machine, and what they say of the whole.

A model of the study's architecture with random weights costs as much time as the real one and needs no download.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from memo_assets.config import Study, Training
from memo_assets.cost.estimate import samples_read
from memo_assets.cost.sizes import Sizes
from memo_assets.study_file import StudyError

_STEPS, _FORWARD_SAMPLES = 5, 64


@dataclass(frozen=True)
class Calibration:
    """What was measured, for one pack of models on one worker.

    Attributes:
        device: cpu or cuda.
        pack: models side by side.
        step_seconds: one optimizer step of the whole pack.
        sample_seconds: one sample of one model in the forward pass.
    """

    device: str
    pack: int
    step_seconds: float
    sample_seconds: float

    def hours(self, sizes: Sizes, workers: int) -> float:
        """Wall-clock hours of the whole study with so many workers side by side, each as fast as this one."""
        study = sizes.study
        packs = -(-study.models // self.pack)
        train = packs * study.steps * self.step_seconds / min(workers, packs)
        read = samples_read(study, is_frozen=True)
        forward = (read.logits / min(workers, packs) + read.layer_scores) * self.sample_seconds
        return (train + forward) / 3600


def calibrate(study: Study, sizes: Sizes) -> Calibration:
    """Train one pack for a few steps and run it forward, with the study's recipe and lengths of samples.

    Args:
        study: a language study.
        sizes: its sizes.

    Raises:
        StudyError: a vision study, or one whose model's configuration or samples are not on this machine.
    """
    from memo_assets.data.tokens import TokenizedSamples
    from memo_assets.training.forward import forward
    from memo_assets.training.language import LanguageTask
    from memo_assets.training.loop import train

    if not study.is_language or sizes.config is None or sizes.lengths is None:
        raise StudyError(
            f"study {study.name}: a calibration needs a language study with model and data on this machine"
        )
    assert study.lora is not None
    device = torch.device("cuda" if study.compute.device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.set_num_threads(study.compute.threads)
    pack = min(study.compute.pack, study.shadows.models)
    recipe, per_step = study.training, study.training.batch_size * study.training.accumulation
    rng = np.random.default_rng(0)
    n = max((_STEPS + 1) * per_step, _FORWARD_SAMPLES)
    lengths = rng.choice(sizes.lengths, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    vocabulary = int(sizes.config.vocab_size)
    tokens = TokenizedSamples(
        ids=rng.integers(0, vocabulary, offsets[-1]).astype(np.int32),
        offsets=offsets,
        option_tokens=np.tile(np.arange(2)[None, :, None], (n, 1, 1)),
        given_index=rng.integers(0, 2, n),
    )
    task = LanguageTask(_random_model(study, sizes, device), tokens, study.lora, seeds=range(pack))
    times: list[float] = []
    short = Training.model_validate(
        {**recipe.model_dump(), "epochs": 1, "checkpoints": [0.0, 1.0], "warmup_steps": 0}
    )
    with tempfile.TemporaryDirectory() as folder:
        train(
            task,
            np.tile(np.arange((_STEPS + 1) * per_step), (pack, 1)),
            short,
            state_path=Path(folder) / "training.safetensors",
            on_checkpoint=lambda *_: None,
            on_progress=lambda *_: times.append(_now(device)),
        )
    steps = np.diff(times)  # the first step, which warms up, has no beginning here
    began = _now(device)
    forward(task, np.arange(_FORWARD_SAMPLES))
    spent = _now(device) - began
    return Calibration(device.type, pack, float(np.median(steps)), spent / (_FORWARD_SAMPLES * pack))


def _random_model(study: Study, sizes: Sizes, device: torch.device):
    from transformers import AutoModelForCausalLM

    kind = study.model
    wanted = kind.dtype if kind.kind == "pretrained" or kind.kind == "gguf" else "fp32"  # noqa: PLR1714 - the type checker reads this
    dtype = torch.float32 if wanted == "fp32" or device.type == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_config(sizes.config, dtype=dtype)
    return model.to(device).eval()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
