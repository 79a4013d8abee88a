"""What the samples of a batch begin with, read once for each model: the same numbers as sample by sample, fewer tokens."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from memo_assets.config import Lora
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.training.beginnings import Layout
from memo_assets.training.language import LanguageTask
from memo_assets.training.positions import CHECKED

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


@pytest.mark.parametrize("model_type", CHECKED)
def test_predictions_are_those_of_the_samples_alone(model_type: str) -> None:
    samples = _alike(random_samples())
    task = _task(small_model(model_type), samples)
    read = _read(task)
    together = task.predict(np.arange(12), hidden=True)
    longest = int(samples.lengths[:12].max())
    assert read == [(3, BEGINNING + 12 * (longest - BEGINNING))]
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
    summed = {name: torch.zeros_like(gradient) for name, gradient in gradients.items()}
    for place in range(ROWS.shape[1]):
        alone, own = _gradients(task, ROWS[:, place : place + 1])
        torch.testing.assert_close(losses[:, place], alone[:, 0])
        for name, gradient in own.items():
            summed[name] += gradient
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(gradient, summed[name], atol=2e-5, rtol=1e-4, msg=name)


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


def test_layout_by_hand() -> None:
    layout = Layout(n_models=2, n_rows=2, begun=1, length=3)
    ids = torch.tensor([[9, 1, 2], [9, 3, 4], [9, 5, 6], [9, 7, 8]])
    assert layout.tokens(ids).tolist() == [[9, 1, 2, 3, 4], [9, 5, 6, 7, 8]]
    where = layout.where(torch.tensor([[2], [1], [1], [2]]))
    assert layout.tokens(ids).flatten()[where].tolist() == [[2], [3], [5], [8]]
    told = layout.arguments(torch.device("cpu"))
    assert told["position_ids"].tolist() == [[0, 1, 2, 1, 2]]
    assert told["attention_mask"][0, 0].tolist() == [[True, True, False], [True, True, True]]
    whole = Layout(n_models=2, n_rows=2, begun=0, length=3)
    assert torch.equal(whole.tokens(ids), ids)
    assert whole.where(torch.tensor([[2], [1], [1], [2]])).tolist() == [[2], [4], [7], [11]]
    assert whole.arguments(torch.device("cpu")) == {}
