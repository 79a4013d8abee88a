"""Packed adapters, their files, and the base model they sit on."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from memo_assets.config import Lora
from memo_assets.models.base import load_base
from memo_assets.models.packed_lora import AdapterDropout, PackedLora, PackedLoraLinear, pack_lora
from memo_assets.models.peft_format import load_adapter, save_adapter
from memo_assets_tests.models.small_models import random_model

SEEDS = [4, 9, 17]


def _llama(*, tied: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=90,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).eval()


def _small(model_type: str, **settings: object) -> PreTrainedModel:
    """Heads that are wider together than the hidden states."""
    return random_model(model_type, head_dim=16, vocab_size=90, **settings)


def _packed(
    model: PreTrainedModel,
    seeds: list[int] = SEEDS,
    targets: Sequence[str] = ("q_proj", "down_proj", "lm_head"),
) -> PackedLora:
    lora = Lora(rank=3, alpha=7.5, targets=list(targets))
    pack = pack_lora(model, lora, seeds)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in pack.parameters().items():
            if name.endswith("lora_B"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return pack


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_those_of_numerical_differentiation(masked: bool, bias: bool) -> None:
    torch.manual_seed(0)
    dropout = AdapterDropout([1, 2], 0.5)
    module = PackedLoraLinear(torch.nn.Linear(4, 3, bias=bias), 2, 2, scale=1.5, dropout=dropout).double()
    module.base.requires_grad_(requires_grad=False)
    x = torch.randn(4, 2, 4, dtype=torch.float64, requires_grad=True)
    a = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if masked:
            dropout.start(0, 2, [2, 2], device="cpu")
        return torch.func.functional_call(module, {"lora_A": a, "lora_B": b}, (x,))

    assert torch.autograd.gradcheck(run, (x, a, b))
    by_hand = module.base(x)
    if not masked:
        for k in range(2):
            by_hand[2 * k : 2 * k + 2] += 1.5 * x[2 * k : 2 * k + 2] @ a[k].T @ b[k].T
        torch.testing.assert_close(run(x, a, b), by_hand)


def test_initial_weights_depend_on_the_split_seed_alone() -> None:
    lora = Lora(rank=4, alpha=8, targets=["q_proj", "lm_head"])
    packed = pack_lora(_llama(), lora, [4, 9, 17]).parameters()
    alone = pack_lora(_llama(), lora, [9]).parameters()
    assert list(packed) == list(alone)
    assert len(packed) == 6
    for name, parameter in packed.items():
        assert torch.equal(parameter[1], alone[name][0])
        if name.endswith("lora_B"):
            assert not parameter.any()
        else:
            # Kaiming-uniform with a = sqrt(5) reaches from -1/sqrt(32) to 1/sqrt(32).
            assert 0.9 / 32**0.5 < float(parameter[0].detach().abs().max()) <= 1 / 32**0.5
            assert not torch.equal(parameter[0], parameter[1])


def test_only_adapters_are_trained_and_a_tied_embedding_stays_tied() -> None:
    model = _llama(tied=True)
    ids = torch.randint(0, 90, (3, 5))
    before = model(ids).logits.detach()
    pack = pack_lora(model, Lora(rank=2, alpha=2, targets=["v_proj", "lm_head"]), SEEDS)
    torch.testing.assert_close(model(ids).logits, before)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(pack.parameters())
    assert pack.modules["lm_head"] is model.get_output_embeddings()
    assert pack.modules["lm_head"].base.weight is model.get_input_embeddings().weight


def test_an_unknown_target_is_named_with_the_modules_there_are() -> None:
    with pytest.raises(ValueError, match=r"\['query'\] are no linear modules .*'q_proj'.*'lm_head'"):
        pack_lora(_llama(), Lora(rank=2, alpha=2, targets=["q_proj", "query"]), [0])


def test_rows_that_cannot_be_shared_are_refused() -> None:
    model = _llama()
    _packed(model)
    with pytest.raises(ValueError, match="4 rows cannot be shared equally among 3 packed adapters"):
        model(torch.zeros(4, 2, dtype=torch.int64))


ALL_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": _llama,
    "tied llama": lambda: _llama(tied=True),
    "mistral": lambda: _small("mistral", sliding_window=None),
    "gemma": lambda: _small("gemma"),  # its embeddings are tied
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*")
def test_an_exported_adapter_gives_the_same_logits_in_peft(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    plain = copy.deepcopy(model)
    pack = _packed(model, targets=ALL_TARGETS)
    ids = torch.randint(0, 90, (2, 6))
    with torch.no_grad():
        packed = model(ids.repeat(3, 1)).logits.view(3, 2, 6, 90)
        base = plain(ids).logits
    for k in range(3):
        save_adapter(pack, k, tmp_path / str(k), base_name="some/base")
        loaded = PeftModel.from_pretrained(copy.deepcopy(plain), str(tmp_path / str(k)))
        with torch.no_grad():
            torch.testing.assert_close(loaded(ids).logits, packed[k], atol=1e-5, rtol=1e-5)
    tied = {"tied llama", "gemma"}
    assert (pack.modules["lm_head"].base.weight is model.get_input_embeddings().weight) == (name in tied)
    assert float((packed[0] - packed[1]).abs().max()) > 1e-2
    assert float((packed[0] - base).abs().max()) > 1e-2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0", "1", "2"]


def test_an_adapter_comes_back_in_any_slot_and_replaces_an_older_export(tmp_path: Path) -> None:
    pack, other = _packed(_llama()), _packed(_llama(), [0, 1])
    save_adapter(pack, 0, tmp_path / "adapter", base_name="some/base")
    (tmp_path / "adapter.partial").mkdir()
    save_adapter(pack, 2, tmp_path / "adapter", base_name="some/base")
    load_adapter(other, 1, tmp_path / "adapter")
    for name, parameter in pack.parameters().items():
        assert torch.equal(parameter[2], other.parameters()[name][1])


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    save_adapter(_packed(_llama()), 0, tmp_path / "adapter", base_name="some/base")
    other_rank = pack_lora(_llama(), Lora(rank=5, alpha=7.5, targets=["q_proj", "down_proj", "lm_head"]), [0])
    with pytest.raises(ValueError, match=r"rank 3 and alpha 7\.5, the pack has rank 5"):
        load_adapter(other_rank, 0, tmp_path / "adapter")
    other_modules = pack_lora(_llama(), Lora(rank=3, alpha=7.5, targets=["q_proj"]), [0])
    with pytest.raises(ValueError, match="6 names not in both"):
        load_adapter(other_modules, 0, tmp_path / "adapter")
    with pytest.raises(FileNotFoundError, match=r"adapter_config\.json is missing"):
        load_adapter(other_modules, 0, tmp_path / "nothing")


def test_a_mask_depends_on_split_seed_and_step_not_on_pack_or_padding() -> None:
    packed, alone = AdapterDropout([4, 9], 0.25), AdapterDropout([9], 0.25)
    packed.start(3, 5, [7, 4], device="cpu")
    alone.start(3, 5, [4], device="cpu")
    first = packed.mask(torch.zeros(2, 35, 6)).view(2, 5, 7, 6)
    own = alone.mask(torch.zeros(1, 20, 6)).view(5, 4, 6)
    assert torch.equal(first[1, :, :4], own)
    # The second module of the same pass draws on from the same generators.
    assert torch.equal(packed.mask(torch.zeros(2, 5, 6))[1], alone.mask(torch.zeros(1, 5, 6))[0])
    packed.start(4, 5, [7, 4], device="cpu")
    assert not torch.equal(packed.mask(torch.zeros(2, 35, 6)).view(2, 5, 7, 6)[1, :, :4], own)


def test_dropout_drops_its_share_and_keeps_the_mean_update() -> None:
    dropout = AdapterDropout([0], 0.25)
    dropout.start(0, 10, [20], device="cpu")
    mask = dropout.mask(torch.zeros(1, 200, 100))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    # 20,000 draws: the mean has a standard error of sqrt(.25 * .75 / 20,000) = .003.
    assert float(mask.mean()) == pytest.approx(0.75, abs=0.012)
    module = PackedLoraLinear(torch.nn.Linear(100, 1, bias=False), 1, 1, scale=2.0, dropout=dropout)
    with torch.no_grad():
        module.base.weight.zero_()
        module.lora_A.fill_(1.0)
        module.lora_B.fill_(1.0)
        # Without dropout every output is 2 * 100; with it, the mean over 200 has a standard error of .8.
        assert float(module(torch.ones(10, 20, 100)).mean()) == pytest.approx(200, abs=4)


def test_a_model_that_regroups_tokens_is_refused_with_dropout() -> None:
    dropout = AdapterDropout([0], 0.5)
    dropout.start(0, 4, [6], device="cpu")
    with pytest.raises(ValueError, match="got 3 tokens per sample, expected 1 or 6"):
        dropout.mask(torch.zeros(1, 12, 2))


def test_a_missing_base_model_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"^model 'nobody/nothing' at revision abc is not in the cache .* `memo fetch STUDY`"
    ):
        load_base("nobody/nothing", "fp32", "abc")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no complete causal .*notes\.txt"):
        load_base(tmp_path, "fp32")
