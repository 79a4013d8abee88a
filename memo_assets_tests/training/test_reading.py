"""Samples joined in rows, with what they begin with once: the same numbers as sample by sample, fewer tokens."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from memo_assets.config import Lora
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.training.language import LanguageTask
from memo_assets.training.positions import CHECKED
from memo_assets.training.reading import Joined, Padded, _with_grouped_keys

from . import long_options, perturbed, random_samples, small_model

ROWS = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 3, 0]])
BEGINNING = 2  # tokens that all samples share here


def _alike(samples: TokenizedSamples) -> TokenizedSamples:
    """The samples with the same two tokens at the beginning of each."""
    ids, begins = samples.ids.copy(), samples.offsets[:-1]
    ids[begins], ids[begins + 1] = 7, 8
    return dataclasses.replace(samples, ids=ids)


def _task(model: PreTrainedModel, samples: TokenizedSamples, dropout: float = 0.0) -> LanguageTask:
    """Three adapters that all do something."""
    lora = Lora(
        rank=2, alpha=4, dropout=dropout, targets=["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    )
    return perturbed(LanguageTask(model, samples, lora, seeds=[0, 1, 2]))


def _read(task: LanguageTask) -> list[tuple[int, ...]]:
    """Shapes of the tokens that the model reads from now on, pass by pass."""
    shapes: list[tuple[int, ...]] = []
    task._model.get_decoder().register_forward_pre_hook(
        lambda _module, _args, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def _gradients(task: LanguageTask, rows: np.ndarray) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Training losses of rows, and the gradient of their sum."""
    losses = task.losses(rows, 0)
    losses.sum().backward()
    found = {}
    for name, parameter in task.parameters().items():
        assert parameter.grad is not None
        found[name], parameter.grad = parameter.grad, None
    return losses.detach(), found


def _check_one_by_one(task: LanguageTask, losses: torch.Tensor, gradients: dict[str, torch.Tensor]) -> None:
    """Losses and gradients of `ROWS` are those of passes over one sample a model."""
    summed = {name: torch.zeros_like(gradient) for name, gradient in gradients.items()}
    for place in range(ROWS.shape[1]):
        alone, own = _gradients(task, ROWS[:, place : place + 1])
        torch.testing.assert_close(losses[:, place], alone[:, 0])
        for name, gradient in own.items():
            summed[name] += gradient
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(gradient, summed[name], atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("model_type", CHECKED)
def test_predictions_are_those_of_the_samples_alone(model_type: str) -> None:
    samples = _alike(random_samples())
    task = _task(small_model(model_type), samples)
    read = _read(task)
    together = task.predict(np.arange(12), hidden=True)
    assert len(set(samples.lengths[:12])) > 1
    assert read == [(3, BEGINNING + int((samples.lengths[:12] - BEGINNING).sum()))]
    for row in range(12):
        alone = task.predict(np.array([row]), hidden=True)
        assert together.hidden is not None
        assert alone.hidden is not None
        pairs = [(together.option_logits, alone.option_logits), (together.loss, alone.loss)]
        for found, expected in (*pairs, *zip(together.hidden, alone.hidden, strict=True)):
            torch.testing.assert_close(found[:, row], expected[:, 0])


@pytest.mark.parametrize("options", [random_samples, long_options])
@pytest.mark.parametrize("model_type", CHECKED)
def test_losses_and_gradients_of_training_are_those_of_the_samples_one_by_one(
    model_type: str, options: type
) -> None:
    task = _task(small_model(model_type), _alike(options()))
    read = _read(task)
    losses, gradients = _gradients(task, ROWS)
    assert len(read) == 1
    assert read[0][0] == 3  # a row for each model
    _check_one_by_one(task, losses, gradients)


def test_texts_that_are_one_another_up_to_the_last_token_share_all_but_that() -> None:
    samples = random_samples()
    ids = np.tile(np.arange(30, 35), 64).astype(np.int32)
    ids[4::5] = np.arange(64) + 40
    same = dataclasses.replace(samples, ids=ids, offsets=np.arange(65) * 5)
    task = _task(small_model("llama"), same)
    read = _read(task)
    losses = task.losses(ROWS, 0).detach()
    assert read == [(3, 4 + 4 * 1)]
    for place in range(4):
        torch.testing.assert_close(
            losses[:, place], task.losses(ROWS[:, place : place + 1], 0).detach()[:, 0]
        )


@pytest.mark.parametrize(
    ("settings", "dropout"),
    [({}, 0.5), ({"attn_implementation": "eager"}, 0.0), ({"sliding_window": 4}, 0.0)],
    ids=["dropout", "attention of another kind", "a window shorter than the samples"],
)
def test_every_sample_is_read_whole_where_a_beginning_may_not_be_shared(
    settings: dict[str, object], dropout: float
) -> None:
    samples = _alike(random_samples())
    task = _task(small_model("mistral", **({"sliding_window": None} | settings)), samples, dropout)
    read = _read(task)
    task.losses(ROWS, 0)
    assert read == [(12, int(samples.lengths[ROWS].max()))]


def test_a_window_that_holds_the_samples_changes_nothing() -> None:
    samples = _alike(random_samples())
    task = _task(small_model("mistral", sliding_window=64), samples)
    read = _read(task)
    found = task.losses(ROWS, 0).detach()
    assert read[0][0] == 3
    expected = _task(small_model("mistral", sliding_window=None), samples).losses(ROWS, 0).detach()
    torch.testing.assert_close(found, expected)


def test_a_pass_that_fails_leaves_the_models_attention_as_it_was() -> None:
    task = _task(small_model("llama"), _alike(random_samples()))
    failing = task._model.get_decoder().get_submodule("layers.0").register_forward_pre_hook(_fail)
    with pytest.raises(RuntimeError, match="told to fail"):
        task.losses(ROWS, 0)
    failing.remove()
    assert task._model.config._attn_implementation == "sdpa"
    task.losses(ROWS, 0)


def _fail(_module: object, _args: object) -> None:
    raise RuntimeError("told to fail")


def test_samples_without_a_common_beginning_are_joined_too() -> None:
    samples = random_samples()
    assert len(set(samples.ids[samples.offsets[ROWS]].ravel())) > 1
    task = _task(small_model("llama"), samples)
    read = _read(task)
    losses, gradients = _gradients(task, ROWS)
    assert read == [(3, int(samples.lengths[ROWS].sum(axis=1).max()))]
    _check_one_by_one(task, losses, gradients)


def test_samples_of_one_length_without_a_common_beginning_are_read_as_they_are() -> None:
    samples = random_samples()
    alike = np.flatnonzero(samples.lengths == samples.lengths[0])[:3]
    assert len(alike) == 3
    task = _task(small_model("llama"), samples)
    read = _read(task)
    task.losses(np.tile(alike, (3, 1)), 0)
    assert read == [(9, int(samples.lengths[0]))]


def test_joined_rows_by_hand() -> None:
    layout = Joined(np.array([[3, 2], [2, 2]]), begun=1)
    ids = np.array([[9, 1, 2], [9, 3, 0], [8, 5, 0], [8, 7, 0]])
    assert layout.tokens(ids).tolist() == [[9, 1, 2, 3], [8, 5, 7, 0]]
    where = layout.where(np.array([[1, 2, 3], [1, 2, 3], [1, 1, 1], [1, 2, 3]]))
    assert where.tolist() == [[1, 2, 2], [3, 3, 3], [5, 5, 5], [6, 6, 6]]
    told = layout.arguments(torch.device("cpu"))
    assert told["position_ids"].tolist() == [[0, 1, 2, 1], [0, 1, 1, 0]]
    assert told["attention_mask"][0, 0].tolist() == [[True, True, False], [True, True, True]]
    slots = told["slots"]
    assert (slots.begun, slots.n_rows) == (1, 2)
    assert slots.token_of_slot.tolist() == [1, 2, 3, 3, 5, 5, 6, 6]
    assert slots.slot_of_token.tolist() == [0, 1, 2, 4, 6, 0]


def test_padded_rows_by_hand() -> None:
    layout = Padded(np.array([[3, 2], [2, 2]]))
    ids = np.array([[9, 1, 2], [9, 3, 0], [8, 5, 0], [8, 7, 0]])
    assert layout.tokens(ids) is ids
    assert layout.where(np.array([[2], [1], [1], [2]])).tolist() == [[2], [4], [7], [10]]
    assert layout.arguments(torch.device("cpu")) == {}


@pytest.mark.parametrize("n_query", [1, 4, 5])
@pytest.mark.parametrize("is_masked", [True, False], ids=["masked", "causal"])
def test_attention_on_a_cpu_is_that_of_the_library(n_query: int, *, is_masked: bool) -> None:
    keys = 7 if is_masked else n_query
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 6, n_query, 8, generator=generator)
    key, value = torch.randn(2, 3, 2, keys, 8, generator=generator)
    mask = torch.arange(keys) <= torch.arange(keys - n_query, keys)[:, None] if is_masked else None
    given = (_Grouped(), query, key, value, None if mask is None else mask[None, None])
    found, _ = _with_grouped_keys(*given, scaling=0.3, dropout=0.0)
    expected, _ = sdpa_attention_forward(*given, scaling=0.3, dropout=0.0)
    torch.testing.assert_close(found, expected)


class _Grouped(torch.nn.Module):
    """What attention asks of its module."""

    num_key_value_groups = 3
    is_causal = True
