"""Blocks written out as two functions: what they give, and all gradients, are those of the library's modules."""

from typing import Any

import numpy as np
import pytest
import torch

from memo_assets.config import Lora
from memo_assets.models import packed_block
from memo_assets.models.packed_block import pack_blocks
from memo_assets.models.packed_lora import pack_lora
from memo_assets.training import language
from memo_assets.training.language import LanguageTask
from memo_assets.training.positions import CHECKED
from memo_assets_tests.models.small_models import random_model

from . import ALL_TARGETS, perturbed, random_samples, small_model

ROWS = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 3, 0]])
WRITTEN_OUT = ["llama", "mistral"]
BIASED = {"attention_bias": True, "mlp_bias": True}
Result = tuple[torch.Tensor, dict[str, torch.Tensor]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions of blocks that are run from now on."""
    ran: list[str] = []
    for name in ("_BeforeAttention", "_AfterAttention"):
        function = getattr(packed_block, name)
        forward = function.forward

        def counted(*args: object, name: str = name, forward: object = forward) -> object:
            ran.append(name)
            return forward(*args)  # pyright: ignore[reportCallIssue]

        monkeypatch.setattr(function, "forward", staticmethod(counted))
    return ran


def _task(model_type: str, targets: list[str], *, dropout: float = 0.0, **settings: Any) -> LanguageTask:
    """Three adapters that all do something, over three blocks whose biases, if they have any, do so too."""
    model = small_model(model_type, num_hidden_layers=3, **settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    lora = Lora(rank=2, alpha=4, dropout=dropout, targets=targets)
    return perturbed(LanguageTask(model, random_samples(), lora, seeds=[0, 1, 2]))


def _trained(task: LanguageTask, rows: np.ndarray) -> Result:
    losses = task.losses(rows, 0)
    losses.sum().backward()
    gradients = {name: p.grad for name, p in task.parameters().items() if p.grad is not None}
    assert len(gradients) == len(task.parameters())
    return losses.detach(), gradients


def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks made from now on leave blocks as they are."""
    monkeypatch.setattr(language, "pack_blocks", lambda *_: 0)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:, :1]], ids=["joined", "alone"])
@pytest.mark.parametrize("targets", [ALL_TARGETS, ["q_proj", "v_proj"], ["up_proj", "o_proj"]])
@pytest.mark.parametrize("settings", [{}, BIASED], ids=["plain", "biased"])
@pytest.mark.parametrize("model_type", WRITTEN_OUT)
def test_losses_and_gradients_are_those_of_the_librarys_blocks(  # noqa: PLR0917 - all of them are the case
    model_type: str,
    settings: dict[str, Any],
    targets: list[str],
    rows: np.ndarray,
    steps: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses, gradients = _trained(_task(model_type, targets, **settings), rows)
    assert steps == ["_BeforeAttention", "_AfterAttention"] * 2  # the last block stays as it is
    _usual(monkeypatch)
    expected, by_autograd = _trained(_task(model_type, targets, **settings), rows)
    assert len(steps) == 4
    torch.testing.assert_close(losses, expected)
    for name, gradient in gradients.items():
        assert by_autograd[name].abs().max() > 1e-4
        torch.testing.assert_close(gradient, by_autograd[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("model_type", WRITTEN_OUT)
def test_predictions_and_hidden_states_are_those_of_the_librarys_blocks(
    model_type: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _task(model_type, ALL_TARGETS).predict(np.arange(12), hidden=True)
    assert len(steps) == 4
    _usual(monkeypatch)
    expected = _task(model_type, ALL_TARGETS).predict(np.arange(12), hidden=True)
    torch.testing.assert_close(found.option_logits, expected.option_logits)
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.hidden is not None
    assert expected.hidden is not None
    assert len(found.hidden) == 3
    for layer, other in zip(found.hidden, expected.hidden, strict=True):
        torch.testing.assert_close(layer, other)


def test_the_loss_of_whole_texts_is_that_of_the_librarys_blocks(
    steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def result() -> Result:
        model = small_model("llama", num_hidden_layers=3)
        lora = Lora(rank=2, alpha=4, targets=ALL_TARGETS)
        return _trained(
            perturbed(LanguageTask(model, random_samples(), lora, seeds=[0, 1, 2], loss="text")), ROWS
        )

    losses, gradients = result()
    assert len(steps) == 4
    _usual(monkeypatch)
    expected, by_autograd = result()
    torch.testing.assert_close(losses, expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, by_autograd[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("dropout", "attention"),
    [(0.5, "sdpa"), (0.0, "eager")],
    ids=["dropout", "attention of another kind"],
)
def test_what_the_functions_do_not_do_is_left_to_the_library(
    dropout: float, attention: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _trained(_task("llama", ALL_TARGETS, dropout=dropout, attn_implementation=attention), ROWS)
    assert steps == []
    _usual(monkeypatch)
    expected = _trained(_task("llama", ALL_TARGETS, dropout=dropout, attn_implementation=attention), ROWS)
    assert torch.equal(found[0], expected[0])


def test_the_base_alone_runs_as_the_library_runs_it(
    steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _task("llama", ALL_TARGETS).untrained().predict(np.arange(7), hidden=False)
    assert steps == []
    _usual(monkeypatch)
    expected = _task("llama", ALL_TARGETS).untrained().predict(np.arange(7), hidden=False)
    assert torch.equal(found.loss, expected.loss)


def test_in_bfloat16_they_are_no_further_from_float32_than_the_librarys_blocks(
    steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(dtype: torch.dtype) -> torch.Tensor:
        model = small_model("llama", num_hidden_layers=3).to(dtype)  # pyright: ignore[reportArgumentType]
        task = perturbed(
            LanguageTask(model, random_samples(), Lora(rank=2, alpha=4, targets=ALL_TARGETS), seeds=[0, 1, 2])
        )
        states = task.predict(np.arange(64), hidden=True).hidden
        assert states is not None
        return states[-1]

    exact, found = hidden(torch.float32), hidden(torch.bfloat16)
    assert len(steps) == 8
    _usual(monkeypatch)
    usual = hidden(torch.bfloat16)
    errors = [(states - exact).square().mean().sqrt() for states in (found, usual)]
    assert 0 < errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("model_type", CHECKED)
def test_only_blocks_built_as_llamas_are_changed(model_type: str) -> None:
    model = random_model(model_type, num_hidden_layers=3)
    pack = pack_lora(model, Lora(rank=2, alpha=4, targets=["q_proj"]), [0])
    assert pack_blocks(model, pack) == (2 if model_type in WRITTEN_OUT else 0)


@pytest.mark.parametrize("reason", ["activation", "placed", "quantized"])
def test_a_block_with_something_else_inside_stays_as_it_is(reason: str) -> None:
    model = random_model(
        "llama", num_hidden_layers=3, **({"hidden_act": "gelu"} if reason == "activation" else {})
    )
    block = model.get_submodule("model.layers.1")
    if reason == "placed":
        vars(block)["_hf_hook"] = object()  # as accelerate marks it
    if reason == "quantized":
        block.set_submodule("mlp.up_proj", _Quantized(32, 48, bias=False))
    pack = pack_lora(model, Lora(rank=2, alpha=4, targets=["q_proj"]), [0])
    assert pack_blocks(model, pack) == (0 if reason == "activation" else 1)
    assert "forward" not in vars(block)


class _Quantized(torch.nn.Linear):
    """A linear module that computes in its own way."""
