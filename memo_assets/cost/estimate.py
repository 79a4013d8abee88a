"""From the sizes of a study to tokens, floating-point operations, files and hours. Arithmetic only."""

from dataclasses import dataclass
from typing import NamedTuple

BYTES_PER_WEIGHT = 4  # adapters are stored in float32
_ROW_BYTES = 32  # of a row of logits beside the logits themselves: seed, epoch, sample, loss, gap


@dataclass(frozen=True)
class ModelSize:
    """Parameters of the model that is trained, by what they do.

    Attributes:
        total: all of them, embeddings among them.
        body: those that every token passes.
        output: those that only the position of the answer passes: the output module.
        trained: those that are trained: of the adapters, or all of a network trained from scratch.
        is_frozen: whether the body is frozen and adapters are trained.
        multiply_adds: of the forward pass of one sample, where they are counted; None: one per parameter and token.
    """

    total: int
    body: int
    output: int
    trained: int
    is_frozen: bool
    multiply_adds: int | None = None


@dataclass(frozen=True)
class StudySize:
    """How much a study trains and computes.

    Attributes:
        samples: of pool and test.
        n_train: training samples of one model.
        tokens: mean tokens of a sample's context; 1 where the notion has no meaning.
        n_options: mean number of options.
        models: models trained.
        audited: models whose hidden states are scored.
        epochs: passes over the training samples.
        steps: optimizer steps of one model.
        checkpoints: of one model, that at its trigger among them.
        queries: forward passes of a model over its samples at each checkpoint.
    """

    samples: int
    n_train: int
    tokens: float
    n_options: float
    models: int
    audited: int
    epochs: int
    steps: int
    checkpoints: int
    queries: int = 1


@dataclass(frozen=True)
class Cost:
    """What a study takes.

    Attributes:
        train_tokens: tokens read in training, over all models and epochs, padding left out.
        forward_tokens: tokens read by the forward passes over all checkpoints.
        train_flops: floating-point operations of training.
        forward_flops: those of the forward passes.
        checkpoint_bytes: weights of all models at all checkpoints.
        logits_bytes: rows of logits, before compression.
    """

    train_tokens: float
    forward_tokens: float
    train_flops: float
    forward_flops: float
    checkpoint_bytes: float
    logits_bytes: float

    @property
    def flops(self) -> float:
        """All floating-point operations."""
        return self.train_flops + self.forward_flops

    def device_hours(self, tflops: float) -> float:
        """Hours of one device that reaches so many 10^12 operations a second on this work."""
        return self.flops / (tflops * 1e12) / 3600


class SamplesRead(NamedTuple):
    """Samples that the models of a study are run forward on, over all models and checkpoints.

    logits: of pool and test, for the logits.
    layer_scores: training samples of the audited models, for their hidden states.
    """

    logits: int
    layer_scores: int


def samples_read(study: StudySize, *, is_frozen: bool) -> SamplesRead:
    """What the forward passes read; before training all adapters of a frozen model are that model, which is asked once.

    Args:
        study: sizes of the study.
        is_frozen: whether adapters are trained over a frozen model.
    """
    runs = study.models * study.checkpoints
    if is_frozen:
        runs -= study.models - 1
    return SamplesRead(runs * study.samples, study.audited * study.checkpoints * study.n_train)


def estimate(study: StudySize, model: ModelSize) -> Cost:
    """What a study takes, from its sizes.

    A multiply-add is two operations. Where they are not counted, a token costs one for each parameter that it passes in
    the forward pass (Kaplan et al., "Scaling Laws for Neural Language Models", arXiv 2001.08361, section 2.1; attention
    over the context, small for short prompts, is left out). The backward pass costs as much again for the gradients of activations, and again for those of the weights,
    which frozen weights do not need. The output module is passed at the answer's position only.

    Args:
        study: sizes of the study.
        model: sizes of its model.
    """
    forward = 2 * (
        model.body * study.tokens + model.output if model.multiply_adds is None else model.multiply_adds
    )
    if model.is_frozen:
        adapters = 2 * model.trained * study.tokens
        train_pass, forward_pass = 2 * forward + 3 * adapters, forward + adapters
    else:
        train_pass, forward_pass = 3 * forward, forward
    trained = study.models * study.epochs * study.n_train
    read = samples_read(study, is_frozen=model.is_frozen)
    passes = read.logits * study.queries + read.layer_scores
    rows = study.models * study.checkpoints * study.samples
    return Cost(
        train_tokens=trained * study.tokens,
        forward_tokens=passes * study.tokens,
        train_flops=trained * train_pass,
        forward_flops=passes * forward_pass,
        checkpoint_bytes=study.models * study.checkpoints * model.trained * BYTES_PER_WEIGHT,
        logits_bytes=rows * (_ROW_BYTES + 4 * (study.n_options + study.queries - 1)),
    )
