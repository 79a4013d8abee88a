"""Settings of training, of the shadow models, and of what is computed from them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from memo_assets.config.base import Config, Seed, Share


def _by_rule(epochs: int, first_epoch: int, every: int) -> list[float]:
    """Checkpoints: `first_epoch` equal parts of the first epoch, then every n-th epoch, and the last one."""
    first = [part / first_epoch for part in range(first_epoch + 1)]
    return [
        *first,
        *(float(epoch) for epoch in range(2, epochs + 1) if epoch % every == 0 or epoch == epochs),
    ]


class Augmentation(Config):
    """Random changes of every image in every pass over it in training."""

    flip: bool = Field(default=False, description="Mirror left and right with probability 1/2.")
    shift: int = Field(
        default=0,
        ge=0,
        description="Shift by up to so many pixels down or up and left or right, all shifts as likely; what is left free "
        "is 0. The random crop of an image padded by so many pixels.",
    )

    @model_validator(mode="after")
    def _changes_something(self) -> "Augmentation":
        if not self.flip and not self.shift:
            raise ValueError("neither flips nor shifts: set flip: true or shift, or remove the block")
        return self


class Trigger(Config):
    """When a model's training loss has fallen far enough, its weights are kept beside the checkpoints."""

    window: int = Field(
        default=500, ge=1, description="Training losses, one per sample, of a running median."
    )
    drop: Share = Field(
        default=0.95,
        description="Share by which the running median must have fallen below the median of the first losses.",
    )


def early_trigger(trigger: Trigger, n_train: int) -> Trigger:
    """The trigger of a run that is to stop there, whose window holds no more losses than an epoch has."""
    return Trigger(window=min(trigger.window, n_train), drop=trigger.drop)


class Training(Config):
    """One model's training run."""

    added_later: ClassVar[frozenset[str]] = frozenset(
        {"accumulation", "max_length", "loss", "optimizer", "momentum", "augmentation", "trigger"}
    )

    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="AdamW, or stochastic gradient descent with momentum, both as in torch."
    )
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="Momentum of sgd, without Nesterov's correction; 0: none."
    )
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="Weight decay, of all that is trained: decoupled from the gradient with adamw (Loshchilov & Hutter, "
        "ICLR 2019), added to it with sgd (an L2 penalty), after the gradient has been clipped.",
    )
    batch_size: int = Field(ge=1, description="Samples of one pass through the model, forward and backward.")
    accumulation: int = Field(
        default=1,
        ge=1,
        description="Passes per optimizer step, which sees batch_size x accumulation samples; the last step of an epoch "
        "may see fewer. The gradient is that of the mean loss of all of them.",
    )
    epochs: int = Field(ge=1, description="Passes over the model's training samples.")
    checkpoints: list[float] = Field(
        min_length=2,
        description="Epochs at which weights and logits are kept, from 0 to the last epoch. Or a rule that makes the list: "
        "{first_epoch: 5, every: 2} keeps every fifth of the first epoch, then every second epoch, and the last.",
    )
    warmup_steps: int = Field(default=0, ge=0, description="Steps in which the learning rate rises from 0.")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant",
        description="Learning rate after the warm-up: constant, or falling to 0 linearly or along half a cosine.",
    )
    max_grad_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=1.0, description="Each model's gradient is clipped to this norm; null: not at all."
    )
    max_length: int | None = Field(
        default=None,
        ge=2,
        description="Language studies: most tokens of a prompt with its answer. Longer prompts lose their beginning, "
        "never the answer; how many do is reported. By default none is cut.",
    )
    loss: Literal["answer", "text"] = Field(
        default="answer",
        description="Language studies: train on the answer alone, or on every token of prompt and answer. What is "
        "stored and judged is the loss of the answer in either case.",
    )
    augmentation: Augmentation | None = Field(
        default=None,
        description="Vision studies: random flips and shifts of the images in training; by default none.",
    )
    trigger: Trigger | None = Field(
        default=None,
        description="Keep each model also after the step by which a running median of its training losses has fallen, and "
        "predict there; scores.loss_drop then counts for nothing.",
    )

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> "Training":
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum = {self.momentum:g}, but optimizer adamw has its own: use optimizer: sgd, or remove it"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _checkpoints_by_rule(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("checkpoints"), dict):
            return given
        rule, epochs = given["checkpoints"], given.get("epochs")
        if set(rule) != {"first_epoch", "every"} or not all(type(n) is int and n >= 1 for n in rule.values()):
            raise ValueError(
                f"checkpoints: given {rule}; expected a list of epochs, or the rule {{first_epoch: parts, every: epochs}} "
                "with whole numbers from 1"
            )
        return {**given, "checkpoints": _by_rule(epochs, **rule)} if type(epochs) is int else given

    @model_validator(mode="after")
    def _checkpoints_in_order(self) -> "Training":
        points = self.checkpoints
        if points != sorted(set(points)) or points[0] != 0 or points[-1] != self.epochs:
            raise ValueError(
                f"checkpoints {points} must rise from 0 to epochs = {self.epochs} without repetition"
            )
        return self


class Shadows(Config):
    """The models of the study: split seeds 0 .. models - 1, each trained on its own share of the pool."""

    added_later: ClassVar[frozenset[str]] = frozenset({"membership"})

    models: int = Field(ge=4, le=10_000, description="Number of models; below 33, labels are unstable.")
    train_share: Share = Field(default=0.5, description="Share of the pool in each model's training set.")
    membership: Literal["drawn", "paired"] = Field(
        default="drawn",
        description="drawn: every model draws its samples for itself. paired: split seeds 2k and 2k + 1 share the pool out "
        "between them, so that each sample is in exactly half of the models; takes train_share 0.5.",
    )
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
        if self.membership == "paired" and (self.models % 2 or self.train_share != 0.5):
            raise ValueError(
                f"membership paired shares the pool out between two models each: {self.models} models with train_share = "
                f"{self.train_share:g} given, expected an even number with train_share 0.5"
            )
        wrong = [seed for seed in self.audited if seed >= self.models]
        if wrong:
            raise ValueError(f"audited split seeds {wrong} are not below models = {self.models}")
        return self


class Scores(Config):
    """Settings of the predictors."""

    added_later: ClassVar[frozenset[str]] = frozenset({"layers"})

    psmi_directions: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=2000,
        description="Random directions of PSMI; auto adds blocks of 500 until the lowest scores hardly change.",
    )
    layers: Literal["all"] | Annotated[list[int], Field(min_length=1)] = Field(
        default="all",
        description="Layers that are scored, counted from 1; -1 is the last one.",
    )
    smi_directions: int = Field(
        default=100, ge=1, description="Random directions of sliced mutual information."
    )
    mahalanobis_components: int = Field(default=100, ge=1, description="Principal components kept, at most.")
    loss_drop: Share = Field(
        default=0.95,
        description="Prediction epoch: first checkpoint whose median training loss fell by this share. Of no account with "
        "training.trigger.",
    )


AttackName = Literal[
    "online_lira",
    "online_lira_fixed_variance",
    "offline_lira",
    "offline_lira_fixed_variance",
    "rmia",
    "offline_rmia",
    "loo_lira",
]


class Queries(Config):
    """Further queries of every image, by which leave-one-out LiRA judges a model: small shifts, and mirror images."""

    added_later: ClassVar[frozenset[str]] = frozenset({"flip"})

    shift: int = Field(
        ge=1,
        description="Pixels by which images are shifted to each side and corner: nine queries with the image itself.",
    )

    flip: bool = Field(default=False, description="And their mirror images, left to right: 18 queries.")

    @property
    def offsets(self) -> list[tuple[int, int, bool]]:
        """Pixels down and to the right of every query, and whether it is mirrored before; the first is the image itself."""
        steps, flips = (0, -self.shift, self.shift), (False, True) if self.flip else (False,)
        return [(down, right, flipped) for flipped in flips for down in steps for right in steps]


class Labels(Config):
    """From memorization scores to memorized or not."""

    added_later: ClassVar[frozenset[str]] = frozenset({"queries"})

    attack: AttackName = Field(
        default="online_lira",
        description="Attack whose score defines memorized: LiRA against models with and without the sample (online) or "
        "without it only (offline), with a variance per sample or one for all; RMIA likewise; or leave-one-out LiRA.",
    )
    quantile: Share = Field(
        default=0.9,
        description="Memorized: a score at or above this quantile of the target's training samples.",
    )
    eta: float | None = Field(
        default=None,
        description="Memorized: a score of at least eta, in nats for LiRA, a share for RMIA; the quantile then counts for nothing.",
    )

    queries: Queries | None = Field(
        default=None,
        description="Vision studies: augmented queries, over which the attack loo_lira averages; by default one query.",
    )

    @model_validator(mode="after")
    def _reachable(self) -> "Labels":
        if self.eta is not None and self.attack.endswith("rmia") and not 0 < self.eta <= 1:
            raise ValueError(f"eta = {self.eta:g}, but scores of {self.attack} are shares: give 0 < eta <= 1")
        return self
