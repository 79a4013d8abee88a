"""Settings of protections: how a variant of a study is kept from memorizing, or from telling what it memorized."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from memo_assets.config.base import NAME_PATTERN, Config, Share

AtRisk = Literal["drop", "relabel", "replace"]

# Rows of the comparison that are no variants: the unprotected study, and the same read at its prediction epoch.
NO_PROTECTION, EARLY_STOPPING = "none", "early_stopping"

# What models need to have in common to be compared, and what the base study's own attack and audit are made of.
_SHARED = ("data", "data_seed", "noise", "canaries", "prompt", "shadows", "labels")
_OF_THE_FILE = ("name", "title", "sweep", "protections", "protection")


class Elr(Config):
    """Early-learning regularization: the model is kept near what it believed of a sample before.

    Source: Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
    Labels", NeurIPS 2020, arXiv 2007.00151, section 4.
    """

    weight: float = Field(
        gt=0, description="Factor of log(1 - <p, t>), which is added to the loss (lambda there)."
    )
    momentum: float = Field(
        ge=0, lt=1, description="Share of its old value that the running average t keeps at each pass (beta)."
    )


class Dp(Config):
    """DP-SGD: every sample's gradient is clipped, and noise is added to their sum.

    Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential Privacy", CCS 2016,
    arXiv 1607.00133, algorithm 1.
    """

    noise_multiplier: float = Field(
        gt=0, description="Standard deviation of the noise, as a multiple of max_norm."
    )
    max_norm: float = Field(
        gt=0,
        description="Each sample's gradient is clipped to this norm; max_grad_norm then counts for nothing.",
    )
    delta: Share = Field(
        description="Probability for which epsilon promises nothing; well below 1 / samples."
    )


class Mitigation(Config):
    """How a protected variant differs from its study."""

    added_later: ClassVar[frozenset[str]] = frozenset({"at_risk", "elr", "dp", "prune", "set"})

    at_risk: AtRisk | None = Field(
        default=None,
        description="Samples that the study's own audit flags: not trained on (drop); trained with the label the audit "
        "suspects to be true, without one dropped (relabel); or their place is taken by another training sample of the "
        "same label (replace).",
    )
    elr: Elr | None = Field(default=None, description="Early-learning regularization.")
    dp: Dp | None = Field(default=None, description="DP-SGD.")
    prune: Share | None = Field(
        default=None,
        description="After training, this share of each trained matrix's weights, the smallest ones, is set to 0.",
    )
    set: dict[str, Any] = Field(
        default={}, description="Other values of fields, by dotted name such as lora.rank."
    )

    @model_validator(mode="after")
    def _does_one_thing_in_training(self) -> "Mitigation":
        ways = [name for name in ("at_risk", "elr", "dp") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(
                f"{' and '.join(ways)} given together; give one of at_risk, elr and dp, and another protection for each other"
            )
        if not ways and self.prune is None and not self.set:
            raise ValueError("changes nothing; give at_risk, elr, dp, prune or set")
        for field in self.set:
            if field in _OF_THE_FILE:
                raise ValueError(f"set {field}: no protection changes it; every variant gets its own")
            if field.partition(".")[0] in _SHARED:
                raise ValueError(
                    f"set {field}: no protection changes it, or the variant could not be compared with its study; write a "
                    "study of its own"
                )
        return self


class Protection(Mitigation):
    """What a protected variant is: of which study, and how it differs."""

    base: str = Field(pattern=NAME_PATTERN, description="Name of the unprotected study.")
    mitigation: str = Field(min_length=1, description="Short name, such as drop.")


MitigationName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Protections(Config):
    """The block `protections` of a study file: each entry makes a variant of the study."""

    by_name: dict[MitigationName, Mitigation] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_free(self) -> "Protections":
        for name in (NO_PROTECTION, EARLY_STOPPING):
            if name in self.by_name:
                raise ValueError(f"{name} is a row of every comparison; choose another name")
        return self
