"""The language task against the transformers library run sample by sample."""

import numpy as np
import pytest
import torch

from memo_assets.config import Lora
from memo_assets.data.tokens import TokenizedSamples
from memo_assets.training.language import CHECKED, LanguageTask

from . import language_task, perturbed, random_samples, small_model, tiny_llama


@pytest.mark.parametrize("model_type", [*CHECKED, "gemma2", "phi"])
def test_logits_and_hidden_states_are_those_of_the_whole_model(model_type: str) -> None:
    model, samples = small_model(model_type), random_samples()
    rows = np.arange(12)
    hidden, logits = [], []
    for row in rows:
        ids = torch.from_numpy(samples.ids[samples.offsets[row] : samples.offsets[row + 1]]).long()[None]
        with torch.no_grad():
            output = model(ids, output_hidden_states=True)
        hidden.append(torch.stack([layer[0, -1] for layer in output.hidden_states[1:]]))
        logits.append(output.logits[0, -1])
    task = LanguageTask(model, samples, Lora(rank=2, alpha=4, targets=["q_proj", "v_proj"]), seeds=[0, 1])
    found = task.predict(rows, hidden=True)
    assert found.hidden is not None
    expected = torch.stack(hidden, dim=1)
    assert [layer.shape for layer in found.hidden] == [(2, 12, 32)] * 2
    for k in range(2):
        torch.testing.assert_close(torch.stack(list(found.hidden))[:, k], expected, atol=2e-5, rtol=1e-5)
    options = torch.from_numpy(samples.option_tokens[rows, :, 0])
    own = torch.stack(logits).gather(1, options.clamp(min=0))
    torch.testing.assert_close(found.option_logits[0][options >= 0], own[options >= 0], atol=2e-5, rtol=1e-5)
    assert torch.isneginf(found.option_logits[1][options < 0]).all()


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_the_untrained_task_is_the_base_model_whatever_the_adapters_and_the_pack(seeds: list[int]) -> None:
    rows, fresh = np.arange(12), language_task([5]).predict(np.arange(12), hidden=True)
    task = perturbed(language_task(seeds))
    trained = task.predict(rows, hidden=False)
    alone = task.untrained().predict(rows, hidden=True)
    assert fresh.hidden is not None
    assert alone.hidden is not None
    assert alone.loss.shape == (1, 12)
    for found, expected in (
        (alone.option_logits, fresh.option_logits),
        (alone.loss, fresh.loss),
        *zip(alone.hidden, fresh.hidden, strict=True),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (trained.loss - alone.loss).abs().max() > 0.01
    again = task.predict(rows, hidden=False)  # the adapters are back
    torch.testing.assert_close(again.loss, trained.loss, rtol=0, atol=0)


def test_loss_is_over_the_full_vocabulary_as_the_library_computes_it() -> None:
    samples, model = random_samples(), tiny_llama()
    task = language_task([0])
    found = task.predict(np.arange(10), hidden=False).loss[0]
    for row in range(10):
        answer = samples.option_tokens[row, samples.given_index[row], 0]
        ids = np.append(samples.ids[samples.offsets[row] : samples.offsets[row + 1]], answer)
        labels = np.full(len(ids), -100)
        labels[-1] = answer
        with torch.no_grad():
            expected = model(torch.from_numpy(ids)[None].long(), labels=torch.from_numpy(labels)[None]).loss
        assert found[row].item() == pytest.approx(expected.item(), abs=1e-5)


def test_training_loss_is_the_predicted_loss_without_dropout() -> None:
    task = perturbed(language_task([0, 4]))
    rows = np.array([[1, 2, 3], [4, 5, 6]])
    trained = task.losses(rows, 0).detach()
    for k in range(2):
        torch.testing.assert_close(
            trained[k], task.predict(rows[k], hidden=False).loss[k], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("tied", [False, True])
def test_padding_does_not_change_logits(tied: bool) -> None:
    task = perturbed(language_task([0, 1], tied=tied))
    short, long = int(task.lengths.argmin()), int(task.lengths.argmax())
    assert task.lengths[long] > 2 * task.lengths[short]
    alone = task.predict(np.array([short]), hidden=True)
    padded = task.predict(np.array([short, long]), hidden=True)
    torch.testing.assert_close(padded.option_logits[:, :1], alone.option_logits, atol=1e-5, rtol=1e-5)
    assert padded.hidden is not None
    assert alone.hidden is not None
    torch.testing.assert_close(
        [layer[:, :1] for layer in padded.hidden], list(alone.hidden), atol=1e-5, rtol=1e-5
    )


def test_dropout_acts_in_training_only() -> None:
    task = perturbed(language_task([0], dropout=0.5))
    rows = np.array([[1, 2, 3]])
    first, again, other = (task.losses(rows, step).detach() for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    plain = perturbed(language_task([0]))
    torch.testing.assert_close(
        task.predict(rows[0], hidden=False).loss, plain.predict(rows[0], hidden=False).loss
    )


def test_bf16_base_keeps_float32_adapters() -> None:
    lora = Lora(rank=4, alpha=8.0, dropout=0.1, targets=["q_proj", "down_proj", "lm_head"])
    task = LanguageTask(tiny_llama().to(torch.bfloat16), random_samples(), lora, seeds=[0, 1])  # pyright: ignore[reportArgumentType]
    task.losses(np.array([[1, 2], [3, 4]]), 0).sum().backward()
    for parameter in task.parameters().values():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
    found = task.predict(np.arange(8), hidden=True)
    exact = language_task([0, 1]).predict(np.arange(8), hidden=False)
    assert found.option_logits.dtype == torch.float32
    torch.testing.assert_close(found.loss, exact.loss, atol=0.3, rtol=0.05)


def test_a_given_label_outside_its_options_is_named() -> None:
    samples = random_samples()
    given = samples.given_index.copy()
    given[7] = 3
    options = samples.option_tokens.copy()
    options[7, 3] = -1
    wrong = TokenizedSamples(samples.ids, samples.offsets, options, given)
    with pytest.raises(
        ValueError, match="1 samples have a given label that is no option, first at position 7"
    ):
        LanguageTask(tiny_llama(), wrong, Lora(rank=2, alpha=2), seeds=[0])
