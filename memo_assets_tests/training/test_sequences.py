"""Answers of several tokens and losses on the whole text, against the transformers library option by option."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from memo_assets.config import Lora
from memo_assets.training.forward import forward
from memo_assets.training.language import LanguageTask

from . import language_task, long_options, perturbed, random_samples, small_model, tiny_llama

SAMPLES = long_options()


def _context(row: int) -> list[int]:
    return SAMPLES.ids[SAMPLES.offsets[row] : SAMPLES.offsets[row + 1]].tolist()


def _tokens(row: int, option: int) -> list[int]:
    own = SAMPLES.option_tokens[row, option]
    return own[own >= 0].tolist()


def _log_probability(model: PreTrainedModel, context: list[int], answer: list[int]) -> float:
    """Sum over the answer's tokens, each given all before it, as the library computes the loss of labels."""
    ids = torch.tensor([context + answer])
    labels = torch.tensor([[-100] * len(context) + answer])
    with torch.no_grad():
        return -model(ids, labels=labels).loss.item() * len(answer)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma", "phi"])
def test_an_options_logit_is_its_summed_log_probability(model_type: str) -> None:
    model, rows = small_model(model_type), list(range(16))
    expected = np.full((16, 4), -np.inf)
    hidden = []
    for row in rows:
        for option in range(4):
            if tokens := _tokens(row, option):
                expected[row, option] = _log_probability(model, _context(row), tokens)
        with torch.no_grad():
            states = model(torch.tensor([_context(row)]), output_hidden_states=True).hidden_states
        hidden.append(torch.stack([layer[0, -1] for layer in states[1:]]))
    task = LanguageTask(model, SAMPLES, Lora(rank=2, alpha=4, targets=["q_proj", "v_proj"]), seeds=[0, 1])
    found = task.predict(np.array(rows), hidden=True)
    given = expected[rows, SAMPLES.given_index[rows]]
    assert found.hidden is not None
    for k in range(2):
        np.testing.assert_allclose(found.option_logits[k].numpy(), expected, atol=5e-5)
        np.testing.assert_allclose(found.loss[k].numpy(), -given, atol=5e-5)
        torch.testing.assert_close(
            torch.stack(list(found.hidden))[:, k], torch.stack(hidden, dim=1), atol=2e-5, rtol=1e-5
        )


def test_training_loss_is_the_predicted_loss_for_every_adapter_of_a_pack() -> None:
    task = perturbed(language_task([0, 4], samples=SAMPLES))
    rows = np.array([[1, 2, 3, 9], [4, 5, 6, 7]])
    trained = task.losses(rows, 0).detach()
    for k in range(2):
        predicted = task.predict(rows[k], hidden=False).loss[k]
        torch.testing.assert_close(trained[k], predicted, atol=1e-5, rtol=1e-5)
    assert float((trained[0] - task.predict(rows[0], hidden=False).loss[1]).abs().max()) > 1e-3


def test_options_of_one_token_have_the_same_gaps_either_way() -> None:
    by_token = perturbed(language_task([0, 1]))
    whole = dataclasses.replace(random_samples(), scoring="sequence")
    as_whole = perturbed(language_task([0, 1], samples=whole))
    one, other = forward(by_token, hidden=True), forward(as_whole, hidden=True)
    np.testing.assert_allclose(one.loss, other.loss, atol=1e-5)
    shift = one.option_logits[..., :1] - other.option_logits[..., :1]
    np.testing.assert_allclose(one.option_logits, other.option_logits + shift, atol=2e-5)
    assert one.hidden is not None
    assert other.hidden is not None
    np.testing.assert_allclose(one.hidden, other.hidden, atol=1e-5)


def test_loss_of_the_whole_text_is_that_of_the_library() -> None:
    rows = [[1, 2, 3, 9], [4, 5, 6, 7]]
    found = language_task([0, 4], samples=SAMPLES, loss="text").losses(np.array(rows), 0)
    model, given = tiny_llama(), SAMPLES.given_index.tolist()
    for k, place in itertools.product(range(2), range(4)):
        row = rows[k][place]
        text = torch.tensor([_context(row) + _tokens(row, given[row])])
        with torch.no_grad():
            assert found[k, place].item() == pytest.approx(model(text, labels=text).loss.item(), abs=1e-5)


def test_what_is_trained_does_not_change_what_is_predicted() -> None:
    of_text, of_answer = (
        perturbed(language_task([0], samples=SAMPLES, loss=loss)) for loss in ("text", "answer")
    )
    rows = np.arange(8)
    torch.testing.assert_close(
        of_text.predict(rows, hidden=False).loss, of_answer.predict(rows, hidden=False).loss
    )
    trained = [task.losses(rows[None], 0).detach() for task in (of_text, of_answer)]
    assert float((trained[0] - trained[1]).abs().min()) > 1e-3
