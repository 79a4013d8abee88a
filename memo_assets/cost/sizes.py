"""The sizes of a study: samples and tokens from its data, parameters from its model's configuration.

What belongs here: finding out, and saying what could not be found out. What does not: what follows from it (`estimate`).
Weights are never loaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memo_assets.config import Mlp, Study, WideResNet
from memo_assets.cost.estimate import ModelSize, StudySize
from memo_assets.study_file import StudyError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_CHARACTERS_PER_TOKEN = 4  # of English text, roughly


@dataclass(frozen=True)
class Given:
    """What a user states because it cannot be found out here; None: find it out.

    Attributes:
        samples: of pool and test together.
        tokens: mean tokens of a sample's context.
        parameters: of the base model.
    """

    samples: int | None = None
    tokens: float | None = None
    parameters: float | None = None


@dataclass(frozen=True)
class Sizes:
    """All sizes of a study, with a remark on each that is no plain count.

    Attributes:
        study: samples, tokens, steps.
        model: parameters.
        lengths: int64 [N], tokens of every sample's context; None where only a mean is known.
        config: the language model's configuration; None where it is not here, and for vision networks.
        remarks: one sentence each.
    """

    study: StudySize
    model: ModelSize
    lengths: np.ndarray | None
    config: "PretrainedConfig | None"
    remarks: tuple[str, ...]


def find_sizes(study: Study, given: Given) -> Sizes:
    """Find out the sizes of a study.

    Args:
        study: the study.
        given: what the user states; it takes the place of what could be found out.

    Raises:
        StudyError: data or model are not on this machine and what they would tell is not given.
    """
    from memo_assets.training.schedule import checkpoint_steps

    remarks: list[str] = []
    samples = _samples(study, given, remarks)
    n = given.samples or len(samples)  # pyright: ignore[reportArgumentType] - without either, `_samples` raises
    config, tokenizer = (None, None) if not study.is_language else _language_model(study, remarks)
    model = (
        _vision_size(study, samples)
        if not study.is_language
        else _language_size(study, config, given, remarks)
    )
    lengths = None
    if not study.is_language:
        tokens = 1.0
    elif given.tokens is not None:
        tokens = given.tokens
    elif samples is None:
        raise StudyError(
            f"study {study.name}: the mean number of tokens is unknown without the data: give --tokens, or run `memo fetch "
            f"{study.name}` where there is internet"
        )
    elif tokenizer is not None:
        lengths = _lengths(study, samples, tokenizer)
        tokens = float(lengths.mean())
    else:
        characters = samples["prompt"].map(len).to_numpy() + 1.0
        lengths = np.ceil(characters / _CHARACTERS_PER_TOKEN).astype(np.int64)
        tokens = float(lengths.mean())
        remarks.append(
            f"tokens: estimated as {_CHARACTERS_PER_TOKEN} characters each, for the tokenizer is not there yet"
        )
    n_train = int(study.shadows.train_share * _pool_size(n, samples))
    size = StudySize(
        samples=n,
        n_train=n_train,
        tokens=tokens,
        n_options=4.0 if samples is None else float(samples["options"].map(len).mean()),
        models=study.shadows.models,
        audited=len(study.shadows.audited),
        epochs=study.training.epochs,
        steps=max(checkpoint_steps(study.training, n_train).values()),
        checkpoints=len(study.training.checkpoints) + (study.training.trigger is not None),
        queries=1 if study.labels.queries is None else len(study.labels.queries.offsets),
    )
    return Sizes(size, model, lengths, config, tuple(remarks))


def _samples(study: Study, given: Given, remarks: list[str]) -> pd.DataFrame | None:
    from memo_assets.data.errors import DataMissingError
    from memo_assets.data.items import load_items
    from memo_assets.data.samples import build_samples

    try:
        return build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    except DataMissingError as error:
        if not study.is_language:
            raise StudyError(
                f"study {study.name}: {error}; without the data, the size of its images is unknown"
            ) from error
        if given.samples is None:
            raise StudyError(
                f"study {study.name}: {error}; or state --samples (pool and test together) and --tokens (mean of a prompt)"
            ) from error
        remarks.append("samples and tokens: as stated, for the data are not there")
        return None


def _pool_size(n: int, samples: pd.DataFrame | None) -> int:
    """Samples of the pool among n, as many as in the data; without data, by the rule of one test sample in nine."""
    from memo_assets.data.splits import pool_and_test

    if samples is None:
        return len(pool_and_test(n)[0])
    return round(n * float((samples["part"] == "pool").mean()))


def _language_model(study: Study, remarks: list[str]) -> tuple[Any, Any]:
    """Configuration and tokenizer; None where they are not on this machine."""
    from transformers import AutoConfig, AutoTokenizer, LlamaConfig

    from memo_assets.models.base import local_tokenizer

    model = study.model
    if model.kind == "tiny_llama":
        remarks.append("the base model's own pretraining is left out")
        config = LlamaConfig(
            vocab_size=model.vocabulary,
            hidden_size=model.hidden,
            intermediate_size=3 * model.hidden,
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            tie_word_embeddings=False,
        )
        return config, None
    if model.kind == "gguf":
        from memo_assets.models.gguf import gguf_file

        path = gguf_file(model)
        where = {"gguf_file": path.name}
        return (
            AutoConfig.from_pretrained(str(path.parent), trust_remote_code=False, **where),
            AutoTokenizer.from_pretrained(str(path.parent), trust_remote_code=False, **where),
        )
    assert model.kind == "pretrained"
    try:
        config = AutoConfig.from_pretrained(
            model.name, revision=model.revision, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError):
        return None, None
    return config, local_tokenizer(model.name, model.revision)


def _language_size(study: Study, config: Any, given: Given, remarks: list[str]) -> ModelSize:
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    assert study.lora is not None
    if config is None:
        if given.parameters is None:
            assert study.model.kind == "pretrained"
            raise StudyError(
                f"study {study.name}: the model {study.model.name} is not on this machine: state --parameters, such as "
                f"7.24e9, or run `memo fetch {study.name}` where there is internet"
            )
        total = int(given.parameters)
        remarks.append("adapters: unknown without the model's configuration, counted as none")
        return ModelSize(total=total, body=total, output=0, trained=0, is_frozen=True)
    with torch.device("meta"):  # shapes without memory
        model = AutoModelForCausalLM.from_config(config)
    embeddings, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    total = sum(weight.numel() for weight in model.parameters())
    tied = output is embeddings
    body = total - embeddings.numel() - (0 if tied else output.numel())
    trained = sum(
        study.lora.rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in study.lora.targets
    )
    return ModelSize(total=total, body=body, output=output.numel(), trained=trained, is_frozen=True)


def _vision_size(study: Study, samples: pd.DataFrame | None) -> ModelSize:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from memo_assets.compute.inputs import make_network

    assert isinstance(study.model, (Mlp, WideResNet))
    assert samples is not None
    network = make_network(study.model, samples, [0]).to("meta")
    total = sum(weight.numel() for weight in network.parameters())
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.empty(1, 1, network.n_inputs, device="meta"))
    return ModelSize(
        total=total,
        body=total,
        output=0,
        trained=total,
        is_frozen=False,
        multiply_adds=counter.get_total_flops() // 2,
    )


def _lengths(study: Study, samples: pd.DataFrame, tokenizer: Any) -> np.ndarray:
    from memo_assets.data.tokens import tokenize

    assert study.prompt is not None
    return tokenize(
        samples, tokenizer, scoring=study.prompt.scoring, max_length=study.training.max_length
    ).lengths
