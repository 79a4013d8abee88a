"""All settings of one study, and the checks across its blocks."""

import re
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from memo_assets.config.base import COMPARISON, NAME_PATTERN, Config, Seed
from memo_assets.config.compute import Compute
from memo_assets.config.data import (
    Canaries,
    CitiesData,
    DigitsData,
    HubData,
    ImagesData,
    Noise,
    Prompt,
    TableData,
)
from memo_assets.config.model import Gguf, Lora, Mlp, Pretrained, TinyLlama, WideResNet
from memo_assets.config.nightly import Nightly
from memo_assets.config.protection import Protection
from memo_assets.config.recipe import Labels, Scores, Shadows, Training


class Study(Config):
    """One data set x one base model x one recipe. All its assets live under its name."""

    added_later: ClassVar[frozenset[str]] = frozenset({"canaries", "nightly", "owners", "protection"})

    name: str = Field(
        pattern=NAME_PATTERN, description="Lower-case letters, digits and _; prefix of all assets."
    )
    title: str = Field(min_length=1, description="A short line for figures and reports.")
    description: str = Field(default="", description="What the study is about, in a few sentences.")
    data: CitiesData | DigitsData | HubData | ImagesData | TableData = Field(
        discriminator="source", description="The labelled data."
    )
    data_seed: Seed = Field(
        default=0, description="Seed of the draws of items, prompt templates and label noise."
    )
    noise: Noise = Field(default=Noise(share=0.0), description="Label noise on the pool.")
    canaries: Canaries | None = Field(default=None, description="Vision studies only: canaries in the pool.")
    prompt: Prompt | None = Field(default=None, description="Language studies only: how samples become text.")
    model: TinyLlama | Pretrained | Gguf | Mlp | WideResNet = Field(
        discriminator="kind", description="The model that is trained."
    )
    lora: Lora | None = Field(default=None, description="Language studies only: the adapters.")
    training: Training = Field(description="The recipe.")
    shadows: Shadows = Field(description="Number of models and their splits.")
    scores: Scores = Field(default=Scores(), description="Settings of the predictors.")
    labels: Labels = Field(default=Labels(), description="Settings of the memorization labels.")
    show_text: bool = Field(
        default=False,
        description="Whether reports and metadata may show the text of samples; false for private data.",
    )
    compute: Compute = Field(default=Compute(), description="Where and how the GPU-bound steps run.")
    nightly: Nightly | None = Field(
        default=None, description="When the study is brought up to date by itself; by default never."
    )
    protection: Protection | None = Field(
        default=None,
        description="Made by the block `protections` of a study file: what a variant is protected by.",
    )
    owners: list[str] = Field(
        default=[], description="Whom to ask, shown in the web UI: e-mail addresses, or team:NAME."
    )

    @property
    def is_language(self) -> bool:
        """Whether the study fine-tunes a language model (else it trains a vision network from scratch)."""
        return not isinstance(self.model, (Mlp, WideResNet))

    @property
    def has_choices(self) -> bool:
        """Whether options are mere letters, each of which stands for a text of the sample's own."""
        return isinstance(self.data, (HubData, TableData)) and self.data.choices is not None

    @property
    def seeds(self) -> range:
        """All split seeds."""
        return range(self.shadows.models)

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name == COMPARISON:
            raise ValueError(
                f"{COMPARISON} is the place of the figures over all studies; choose another name"
            )
        return name

    @field_validator("owners")
    @classmethod
    def _can_be_asked(cls, owners: list[str]) -> list[str]:
        for owner in owners:
            if not re.fullmatch(r"team:\S+|[\w.%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", owner):
                raise ValueError(f"given {owner!r}; expected an e-mail address, or team:NAME")
        return owners

    @model_validator(mode="after")
    def _parts_fit(self) -> "Study":
        is_images = self.data.source in ("digits", "images")
        if self.is_language and is_images:
            raise ValueError(
                f"data.source {self.data.source} holds images; model.kind {self.model.kind} reads text: use mlp or "
                "wide_resnet"
            )
        if not self.is_language and not is_images:
            raise ValueError(
                f"model.kind {self.model.kind} reads images; data.source {self.data.source} holds text"
            )
        if self.is_language and (self.prompt is None or self.lora is None):
            lacking = "prompt" if self.prompt is None else "lora"
            raise ValueError(f"a language study needs the block `{lacking}`")
        if not self.is_language and (self.prompt is not None or self.lora is not None):
            extra = "prompt" if self.prompt is not None else "lora"
            raise ValueError(f"a vision study has no use for the block `{extra}`: remove it")
        if not self.is_language and (self.training.max_length is not None or self.training.loss != "answer"):
            extra = "loss" if self.training.max_length is None else "max_length"
            raise ValueError(f"a vision study has no tokens: remove training.{extra}")
        if self.is_language and self.canaries is not None:
            raise ValueError("a language study has no use for the block `canaries`: remove it")
        if self.is_language and self.training.augmentation is not None:
            raise ValueError("training.augmentation changes images; a language study has none: remove it")
        if self.is_language and self.labels.queries is not None:
            raise ValueError("labels.queries shifts images; a language study has none: remove it")
        if self.training.trigger is not None and self.scores.loss_drop != Scores().loss_drop:
            raise ValueError(
                "training.trigger says when to predict, and scores.loss_drop counts for nothing beside it: remove "
                "scores.loss_drop, or set training.trigger.drop"
            )
        if self.model.kind == "tiny_llama" and self.data.source != "cities":
            raise ValueError(
                "model.kind tiny_llama pretrains on names left over from data.source cities; "
                f"with data.source {self.data.source} use kind: pretrained"
            )
        return self

    @model_validator(mode="after")
    def _protection_fits(self) -> "Study":
        protection = self.protection
        if protection is None:
            return self
        if protection.dp is not None and self.model.kind == "wide_resnet":
            raise ValueError(
                "dp needs the gradient of each sample alone, and batch norm of model.kind wide_resnet mixes samples: use "
                "mlp, or another protection"
            )
        if protection.elr is not None and self.training.loss == "text":
            raise ValueError(
                "elr regularizes the answer; training.loss text trains on all tokens: use answer"
            )
        if protection.elr is not None and self.prompt is not None and self.prompt.scoring == "sequence":
            raise ValueError("elr needs options of one token each; prompt.scoring is sequence: use token")
        return self
