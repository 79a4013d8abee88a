"""K packed adapters are K adapters trained one by one with PEFT."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import get_scheduler

from memo_assets.training.batches import epoch_batches
from memo_assets.training.loop import train

from . import ALL_TARGETS, language_task, random_samples, recipe, tiny_llama, train_rows

SEEDS = [2, 5, 11]


def _peft_run(
    initial: dict[str, torch.Tensor], seed: int, *, epochs: int
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses per step and final weights of one adapter, trained as the PEFT documentation does it."""
    samples, plan = random_samples(), recipe(epochs)
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=ALL_TARGETS, task_type="CAUSAL_LM"
    )
    model = get_peft_model(tiny_llama(), config)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    key = {name: name.removeprefix("base_model.model.").removesuffix(".default.weight") for name in trained}
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(initial[key[name]])
    optimizer = torch.optim.AdamW(trained.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=3, num_training_steps=epochs * 5)
    rows = train_rows([seed])[0]
    losses = []
    for epoch in range(epochs):
        for batch in epoch_batches(rows, samples.lengths, epoch, split_seed=seed, batch_size=8):
            longest = samples.lengths[batch].max()
            ids = torch.zeros(len(batch), longest, dtype=torch.int64)
            attention = torch.zeros_like(ids)
            for i, row in enumerate(batch):
                context = samples.ids[samples.offsets[row] : samples.offsets[row + 1]]
                ids[i, : len(context)] = torch.from_numpy(context)
                attention[i, : len(context)] = 1
            logits = model(input_ids=ids, attention_mask=attention).logits
            logits = logits[torch.arange(len(batch)), torch.from_numpy(samples.lengths[batch] - 1)]
            answers = samples.option_tokens[batch, samples.given_index[batch], 0]
            loss = functional.cross_entropy(logits, torch.from_numpy(answers))
            loss.backward()
            assert plan.max_grad_norm is not None
            torch.nn.utils.clip_grad_norm_(list(trained.values()), plan.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            losses.append(loss.item())
    return losses, {key[name]: p.detach() for name, p in trained.items()}


@pytest.mark.slow
def test_packed_adapters_equal_separate_peft_runs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = language_task(SEEDS)
    initial = {name: p.detach().clone() for name, p in task.parameters().items()}
    seen: list[np.ndarray] = []
    original = task.losses

    def recorded(rows: np.ndarray, step: int) -> torch.Tensor:
        loss = original(rows, step)
        seen.append(loss.detach().mean(dim=1).numpy())
        return loss

    monkeypatch.setattr(task, "losses", recorded)
    train(task, train_rows(SEEDS), recipe(20), state_path=tmp_path / "state", on_checkpoint=lambda *_: None)
    packed_losses = np.stack(seen, axis=1)
    assert packed_losses.shape == (3, 100)
    assert packed_losses[:, -5:].mean() < 0.5 * packed_losses[:, 0].mean(), (
        "the runs must have learnt something"
    )

    for k, seed in enumerate(SEEDS):
        losses, weights = _peft_run({name: p[k] for name, p in initial.items()}, seed, epochs=20)
        loss_gap = np.abs(packed_losses[k] - losses).max()
        weight_gap = max(
            float((p.detach()[k] - weights[name]).abs().max()) for name, p in task.parameters().items()
        )
        moved = max(float((weights[name] - initial[name][k]).abs().max()) for name in weights)
        print(
            f"seed {seed}: loss gap {loss_gap:.1e}, weight gap {weight_gap:.1e}, weights moved by {moved:.2f}"
        )
        assert loss_gap < 1e-4
        assert weight_gap < 1e-4
