"""The monitor inside a real `Trainer`: the toy model, and SmolLM2 with adapters of PEFT."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments

from memo_assets.audit import AuditSettings, MemorizationMonitor
from memo_assets.audit.models import load_model
from memo_assets.measures.evaluation import evaluate
from memo_assets.measures.psmi import psmi


def tokenized(tokenizer: Any, frame: pd.DataFrame) -> list[dict[str, list[int]]]:
    """Prompt and answer as token ids; labels are -100 on the prompt."""
    rows = []
    for name, country in zip(frame["name"], frame["country"], strict=True):
        prompt = tokenizer(f"{name}:")["input_ids"]
        answer = tokenizer(f" {country}", add_special_tokens=False)["input_ids"][:1]
        rows.append({"input_ids": [*prompt, *answer], "labels": [-100] * len(prompt) + answer})
    return rows


def trainer_of(
    model: Any, tokenizer: Any, rows: list, folder: Path, monitor: MemorizationMonitor | None, **changes
):
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 8, "num_train_epochs": 6, "learning_rate": 2e-3, "report_to": [],
        "save_strategy": "no", "logging_steps": 1000, "use_cpu": True, "disable_tqdm": True, "seed": 1,
        "lr_scheduler_type": "constant",
    }  # fmt: skip
    return Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), **(arguments | changes)),
        train_dataset=rows,  # pyright: ignore[reportArgumentType]
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        callbacks=[] if monitor is None else [monitor],
    )


@pytest.fixture(scope="module")
def tiny(audit_warehouse: Path):
    def load():
        model = load_model(AuditSettings(model="tiny"), audit_warehouse / "base_models", "cpu")
        return model.fresh().requires_grad_(requires_grad=True), model.tokenizer

    return load


def test_it_stops_at_the_prediction_epoch_and_ranks_wrong_labels_first(
    tiny, towns: pd.DataFrame, tmp_path: Path
) -> None:
    model, tokenizer = tiny()
    rows = tokenized(tokenizer, towns)
    monitor = MemorizationMonitor(rows, every=10)
    trainer = trainer_of(model, tokenizer, rows, tmp_path, monitor)
    trainer.train()
    assert monitor.step is not None
    assert trainer.state.global_step == monitor.step < trainer.state.max_steps
    first, last = monitor.medians[0], monitor.medians[-1]
    assert last[0] == monitor.step
    assert last[1] < 0.05 * first[1]
    assert all(median >= 0.05 * first[1] for _, median in monitor.medians[:-1])
    scores = monitor.scores
    assert scores is not None
    assert sorted(scores["sample"]) == list(range(len(towns)))
    wrong = towns["is_wrong"].to_numpy()[scores["sample"]]
    assert evaluate(scores["psmi"], wrong, higher_is_riskier=False).auc > 0.85
    assert monitor.flagged.tolist() == scores.loc[scores["psmi"] < 0, "sample"].tolist()
    check_against_single_passes(model, rows, scores)


def check_against_single_passes(model: Any, rows: list, scores: pd.DataFrame) -> None:
    """The scores are those of one sample at a time, without padding."""
    by_sample = scores.set_index("sample").sort_index()
    classes = np.unique([row["labels"][-1] for row in rows])
    hidden, model = [], model.eval()
    with torch.no_grad():
        for place, row in enumerate(rows):
            output = model(input_ids=torch.tensor([row["input_ids"][:-1]]), output_hidden_states=True)
            answer, logits = row["labels"][-1], output.logits[0, -1]
            others = torch.tensor([token for token in classes if token != answer])
            hidden.append(output.hidden_states[-1][0, -1].numpy())
            assert by_sample["loss"][place] == pytest.approx(
                float(-logits.log_softmax(0)[answer]), rel=1e-3, abs=1e-4
            )
            assert by_sample["logit_gap"][place] == pytest.approx(
                float(logits[answer] - logits[others].max()), abs=1e-3
            )
    labels = np.array([row["labels"][-1] for row in rows])
    np.testing.assert_allclose(by_sample["psmi"], psmi(np.stack(hidden), labels).mean, atol=1e-3)


def test_it_changes_nothing_of_a_training_that_goes_on(tiny, towns: pd.DataFrame, tmp_path: Path) -> None:
    trained = []
    for watched in (False, True):
        model, tokenizer = tiny()
        torch.manual_seed(4)  # adapters begin at random
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=4,
                lora_alpha=8,
                lora_dropout=0.1,
                target_modules=["q_proj", "lm_head"],
                task_type="CAUSAL_LM",
            ),
        )
        rows = tokenized(tokenizer, towns.head(80))
        monitor = MemorizationMonitor(rows, action="report", every=3, drop=0.05) if watched else None
        # Dropout draws from torch's generator, which looks must not touch.
        torch.manual_seed(5)
        trainer_of(adapted, tokenizer, rows, tmp_path, monitor, num_train_epochs=2).train()
        trained.append(
            {name: weight.clone() for name, weight in adapted.named_parameters() if weight.requires_grad}
        )
        if monitor is not None:
            assert monitor.scores is not None
    for name, weight in trained[0].items():
        assert torch.equal(weight, trained[1][name]), name


def test_smollm2_with_adapters_of_peft(audit_warehouse: Path, towns: pd.DataFrame, tmp_path: Path) -> None:
    base = load_model(AuditSettings(model="smollm2"), audit_warehouse / "base_models", "cpu")
    model = get_peft_model(
        base.fresh(),
        LoraConfig(
            r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
        ),
    )
    some = pd.concat(
        [towns[~towns["is_wrong"]].head(28), towns[towns["is_wrong"]].head(4)], ignore_index=True
    )
    rows = tokenized(base.tokenizer, some)
    monitor = MemorizationMonitor(rows, every=4, drop=0.9, batch_size=24)
    trainer = trainer_of(
        model, base.tokenizer, rows, tmp_path, monitor, learning_rate=2e-3, num_train_epochs=8
    )
    trainer.train()
    assert monitor.scores is not None, monitor.medians
    assert trainer.state.global_step == monitor.step
    wrong = some["is_wrong"].to_numpy()[monitor.scores["sample"]]
    assert evaluate(monitor.scores["psmi"], wrong, higher_is_riskier=False).auc > 0.7


def test_a_loss_that_stays_is_said(
    tiny, towns: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = tiny()
    rows = tokenized(tokenizer, towns.head(40))
    monitor = MemorizationMonitor(rows)
    trainer_of(model, tokenizer, rows, tmp_path, monitor, learning_rate=1e-7, num_train_epochs=1).train()
    assert monitor.scores is None
    assert monitor.flagged.size == 0
    assert "no sample was scored" in caplog.text
    assert [step for step, _ in monitor.medians] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        ({"input_ids": [1, 2]}, "sample 1 has \\['input_ids'\\]; expected input_ids and labels"),
        ({"input_ids": [1, 2], "labels": [-100, -100]}, "sample 1: labels begin nowhere"),
        ({"input_ids": [1, 2], "labels": [1, 2]}, "sample 1: labels begin at the first token"),
        ({"input_ids": [1, 2], "labels": [2]}, "expected one label a token"),
    ],
)
def test_samples_it_cannot_score_are_refused(sample: dict, sentence: str) -> None:
    good = {"input_ids": [1, 2], "labels": [-100, 2]}
    with pytest.raises(ValueError, match=sentence):
        MemorizationMonitor([good, sample])


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="begin with 1 different tokens"):
        MemorizationMonitor([{"input_ids": [1, 2], "labels": [-100, 2]}] * 4)


def test_the_saved_model_of_the_toy_loads_as_any_other(tiny, tmp_path: Path) -> None:
    model, tokenizer = tiny()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tmp_path).parameters()) > 10_000
