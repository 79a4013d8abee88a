"""Settings of the model that is trained, and of its adapters."""

from pathlib import PurePath
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from memo_assets.config.base import Config, Seed


class TinyLlama(Config):
    """A small Llama that the study pretrains itself, on names that are in neither pool nor test."""

    kind: Literal["tiny_llama"]
    hidden: int = Field(default=64, ge=8, description="Width of the hidden states.")
    layers: int = Field(default=2, ge=1, le=64, description="Number of transformer blocks.")
    heads: int = Field(default=4, ge=1, description="Attention heads; must divide `hidden`.")
    vocabulary: int = Field(
        default=800, ge=300, description="Tokens of the byte-level BPE trained on the data."
    )
    sentences: list[str] = Field(
        min_length=1, description="Pretraining sentences; {text} is a name, {label} its label."
    )
    epochs: int = Field(ge=1, description="Passes over the pretraining sentences.")
    learning_rate: float = Field(gt=0, description="Peak learning rate of AdamW in pretraining.")
    batch_size: int = Field(default=64, ge=1, description="Sentences per pretraining step.")
    seed: Seed = Field(default=0, description="Seed of initial weights and of the order of sentences.")

    @model_validator(mode="after")
    def _sentences_hold_both(self) -> "TinyLlama":
        for sentence in self.sentences:
            if "{text}" not in sentence or "{label}" not in sentence:
                raise ValueError(f"sentence {sentence!r} must hold both {{text}} and {{label}}")
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> "TinyLlama":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden = {self.hidden} is not a multiple of 2 x heads = {2 * self.heads} (rotary positions)"
            )
        return self


Precision = Literal["fp32", "bf16", "int8", "nf4"]


class _CausalLm(Config):
    """How the frozen weights of a causal language model are loaded."""

    added_later: ClassVar[frozenset[str]] = frozenset({"attention", "device_map"})

    dtype: Precision = Field(
        default="fp32",
        description="Precision of the frozen base weights; int8 and nf4 (QLoRA) by bitsandbytes, which leaves the output "
        "module and the norms as they are.",
    )
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        default=None,
        description="Implementation of attention; by default the choice of transformers. What samples begin with is read "
        "once with sdpa alone.",
    )
    device_map: Literal["auto"] | dict[str, int | str] | None = Field(
        default=None,
        description="For a model larger than one GPU: auto, or the device of every module by its name; by default the whole "
        "model lies on one device.",
    )


class Pretrained(_CausalLm):
    """A causal language model of the Hugging Face hub or of a local directory."""

    kind: Literal["pretrained"]
    name: str = Field(min_length=1, description="Hub id, or directory that holds the model and tokenizer.")
    revision: str | None = Field(default=None, description="Commit of the hub repository; pins the weights.")


class Gguf(_CausalLm):
    """A causal language model in one GGUF file, rewritten once as unquantized float32 weights, which are then loaded."""

    added_later: ClassVar[frozenset[str]] = frozenset({"attention", "device_map", "dtype"})

    kind: Literal["gguf"]
    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*$",
        description="Installed Python package that holds the file; without it, `file` is a path.",
    )
    file: str = Field(
        min_length=1,
        pattern=r"\.gguf$",
        description="Name of the file in the package, or its path, absolute or relative to the study's defs.yaml.",
    )

    @model_validator(mode="after")
    def _stays_in_its_package(self) -> "Gguf":
        path = PurePath(self.file)
        if self.package is not None and (path.is_absolute() or ".." in path.parts):
            raise ValueError(
                f"file {self.file!r} lies outside the package {self.package}; give a name inside it, or leave `package` out"
            )
        return self


class Mlp(Config):
    """A multi-layer perceptron with ReLU, trained from scratch on images."""

    kind: Literal["mlp"]
    width: int = Field(default=64, ge=1, description="Units of every hidden layer.")
    layers: int = Field(default=2, ge=1, le=64, description="Number of hidden layers.")


class WideResNet(Config):
    """A wide residual network (Zagoruyko & Komodakis, BMVC 2016), trained from scratch on images."""

    # Two halvings must leave more than one pixel, or a batch of one sample has no variance.
    min_side: ClassVar[int] = 5

    kind: Literal["wide_resnet"]
    depth: int = Field(
        default=16, ge=10, le=100, description="Number of layers: 4 more than a multiple of 6."
    )
    width: int = Field(
        default=4, ge=1, le=64, description="How many times 16, 32 and 64 channels its three groups have."
    )

    @model_validator(mode="after")
    def _depth_makes_blocks(self) -> "WideResNet":
        if (self.depth - 4) % 6:
            below = self.depth - (self.depth - 4) % 6
            raise ValueError(
                f"depth = {self.depth} is not 4 more than a multiple of 6; the nearest are {below} and {below + 6}"
            )
        return self


class Lora(Config):
    """Low-rank adapters (Hu et al., ICLR 2022) on linear modules of the frozen base model."""

    rank: int = Field(ge=1, description="Rank r of every adapter pair.")
    alpha: float = Field(gt=0, description="The update is scaled by alpha / rank.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout on the adapter's input while training."
    )
    targets: list[str] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"],
        min_length=1,
        description="Last names of the modules that get an adapter.",
    )
