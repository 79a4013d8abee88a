"""The typed configuration of one study: every field, its meaning, its limits.

What belongs here: pydantic models and the checks that need nothing but the configuration itself.
What does not: reading files (`study_file`), data (`data`), Dagster (`study`). Nothing heavy is imported.
"""

from memo_assets.config.compute import Compute, GpuStep, Slurm
from memo_assets.config.data import (
    MAX_OPTIONS,
    Canaries,
    CitiesData,
    DigitsData,
    HubData,
    HubRows,
    ImagesData,
    Noise,
    Prompt,
    TableData,
)
from memo_assets.config.model import Gguf, Lora, Mlp, Pretrained, TinyLlama, WideResNet
from memo_assets.config.nightly import Nightly
from memo_assets.config.protection import Dp, Elr, Protection
from memo_assets.config.recipe import Augmentation, Labels, Queries, Scores, Shadows, Training, Trigger
from memo_assets.config.study import Study

__all__ = [
    "MAX_OPTIONS",
    "Augmentation",
    "Canaries",
    "CitiesData",
    "Compute",
    "DigitsData",
    "Dp",
    "Elr",
    "Gguf",
    "GpuStep",
    "HubData",
    "HubRows",
    "ImagesData",
    "Labels",
    "Lora",
    "Mlp",
    "Nightly",
    "Noise",
    "Pretrained",
    "Prompt",
    "Protection",
    "Queries",
    "Scores",
    "Shadows",
    "Slurm",
    "Study",
    "TableData",
    "TinyLlama",
    "Training",
    "Trigger",
    "WideResNet",
]
