"""Training many adapters, and running their checkpoints, beside the usual way: one after another by transformers and peft.

    python -m benchmarks.training [--rounds 3] [--only tiny|large|forward]

Training: samples a CPU second of K adapters in one pack, batches of 16 each, beside `transformers.Trainer` with a peft
adapter, in batches of 16 padded to the longest of each, and in batches of 2 with two passes a step padded to 512 tokens.
Both learn the answer alone, in float32, on one thread, and the same samples: one epoch is timed, whose batches have all
lengths that there are. Set-up and the epoch before it are not counted: in a virtual machine memory costs most when it is
touched for the first time, and a run has many epochs. Batches padded to one length need the same memory and time in each
step, so a few of them are enough.

Forward: all checkpoints of one adapter over 500 samples, beside loading base and adapter again for each checkpoint and
asking for the logits of all positions. One of the checkpoints is timed and scaled up.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from benchmarks.harness import Row, write
from benchmarks.subjects import Subject, subject
from memo_assets.config import Training
from memo_assets.data.splits import split_mask
from memo_assets.models.base import load_base
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import train
from memo_assets.training.schedule import checkpoint_steps

BATCH, LONG = 16, 512
CHECKPOINTS, READ = 8, 500


class Clock:
    """CPU seconds of some steps after those that are not counted."""

    def __init__(self, steps: int, warm_up: int) -> None:
        self._done, self._began = 0, 0.0
        self._warm_up = warm_up
        self.steps = steps
        self.seconds = 0.0

    def tick(self) -> bool:
        """Called after every step; whether that was the last."""
        self._done += 1
        if self._done == self._warm_up:
            self._began = time.process_time()
        self.seconds = time.process_time() - self._began
        return self._done == self._warm_up + self.steps


def train_rows(of: Subject, seed: int, steps: int) -> np.ndarray:
    """Training samples of a model as positions, so many of them as an epoch of so many steps has."""
    rows = of.pool[split_mask(len(of.pool), 0.5, seed)]
    assert len(rows) >= BATCH * steps
    return np.random.default_rng(seed).permutation(rows)[: BATCH * steps]


def packed(of: Subject, k: int, steps: int) -> Callable[[], float]:
    """Samples a CPU second of K adapters at once, in an epoch of so many steps; the models are set up now."""
    model, _ = load_base(str(of.folder), "fp32")
    assert of.study.lora is not None
    task = LanguageTask(model, of.tokens, of.study.lora, seeds=range(k))
    rows = np.stack([train_rows(of, seed, steps) for seed in range(k)])
    given = of.study.training.model_dump() | {"batch_size": BATCH, "epochs": 100, "checkpoints": [0.0, 100.0]}
    recipe = Training.model_validate(given)
    assert list(checkpoint_steps(recipe, rows.shape[1]))

    def run() -> float:
        clock = Clock(steps, warm_up=steps)

        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Interrupted):
            train(
                task,
                rows,
                recipe,
                state_path=Path(folder) / "training.safetensors",
                on_checkpoint=lambda *_: None,
                should_stop=clock.tick,
            )
        return k * BATCH * clock.steps / clock.seconds

    return run


class _Watch(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = self._clock.tick()


def collated(texts: list[np.ndarray], length: int | None) -> dict[str, torch.Tensor]:
    """A batch padded on the right, with the answer as the only label."""
    longest = length or max(len(text) for text in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.from_numpy(text.astype(np.int64))
        mask[row, : len(text)] = 1
        labels[row, len(text) - 1] = int(text[-1])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def by_trainer(
    of: Subject, steps: int, *, batch: int, passes: int, length: int | None
) -> Callable[[], float]:
    """Samples a CPU second of one adapter in transformers' Trainer, in an epoch of so many steps, or in steps of one length."""
    lora = of.study.lora
    assert lora is not None
    base = AutoModelForCausalLM.from_pretrained(of.folder, dtype=torch.float32)
    config = LoraConfig(
        r=lora.rank, lora_alpha=int(lora.alpha), target_modules=list(lora.targets), lora_dropout=lora.dropout
    )
    model = get_peft_model(base, config)
    texts = [of.texts[position] for position in train_rows(of, 0, steps)]

    def run() -> float:
        clock = Clock(steps, warm_up=steps if length is None else 1)
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=passes,
                num_train_epochs=100,
                learning_rate=of.study.training.learning_rate,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            )
            Trainer(
                model=model,
                args=arguments,
                train_dataset=texts,  # pyright: ignore[reportArgumentType]
                data_collator=partial(collated, length=length),
                callbacks=[_Watch(clock)],
            ).train()
        return batch * passes * clock.steps / clock.seconds

    return run


def trained(
    of: Subject,
    name: str,
    rounds: int,
    *,
    packs: Mapping[int, tuple[float, float] | None],
    steps: tuple[int, int],
) -> list[Row]:
    """Rows of one model.

    Args:
        of: model and data.
        name: of the model, for the table.
        rounds: how often each is timed.
        packs: sizes of packs; of those with a value it is the least ratio to both ways, as (short, padded).
        steps: timed steps in batches of 16, which are an epoch, and in batches padded to 512.
    """
    ways = {f"K={k}": packed(of, k, steps[0]) for k in packs}
    short, padded = "Trainer, batch 16", f"Trainer, batch 2 x 2 padded to {LONG}"
    ways[short] = by_trainer(of, steps[0], batch=BATCH, passes=1, length=None)
    ways[padded] = by_trainer(of, steps[1], batch=2, passes=2, length=LONG)
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            rates[way].append(run())
            print(f"{name}, {way}: {rates[way][-1]:.3g} samples a CPU second", flush=True)
    rows = []
    for k, least in packs.items():
        for other, target in zip((short, padded), least or (None, None), strict=True):
            pairs = [own / theirs for own, theirs in zip(rates[f"K={k}"], rates[other], strict=True)]
            medians = [statistics.median(rates[way]) for way in (f"K={k}", other)]
            rows.append(
                Row(
                    f"training, {name}, {k} adapter{'s' * (k > 1)} a pack",
                    "LoRA, float32, 1 thread",
                    f"{other} (samples a CPU second)",
                    medians[0] / medians[1],
                    target=target,
                    seconds={"ours, a sample": 1 / medians[0], "theirs, a sample": 1 / medians[1]},
                    spread=(min(pairs), max(pairs)),
                    rounds=rounds,
                )
            )
    return rows


def checkpoints_forward(of: Subject, rounds: int, folder: Path) -> list[Row]:
    """All checkpoints of one adapter over 500 samples."""
    lora = of.study.lora
    assert lora is not None
    model, _ = load_base(str(of.folder), "fp32")
    task = LanguageTask(model, of.tokens, lora, seeds=[0], base_name=str(of.folder))
    saved = [folder / f"adapter-{number}" for number in range(CHECKPOINTS)]
    for path in saved:
        task.export(0, path)
    rows, texts = np.arange(READ), of.texts[:READ]

    def ours() -> None:
        base, _ = load_base(str(of.folder), "fp32")
        adapter = LanguageTask(base, of.tokens, lora, seeds=[0], base_name=str(of.folder))
        for path in saved:
            adapter.load(0, path)
            forward(adapter, rows)

    def reloaded(length: int | None, n: int) -> tuple[float, float]:
        """CPU seconds of loading, and of n samples, for one checkpoint."""
        began = time.process_time()
        base = AutoModelForCausalLM.from_pretrained(of.folder, dtype=torch.float32)
        adapter = PeftModel.from_pretrained(base, saved[0]).eval()
        loaded = time.process_time()
        with torch.no_grad():
            for start in range(0, n, BATCH):
                batch = collated(texts[start : start + BATCH], length)
                adapter(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return loaded - began, time.process_time() - loaded

    found: list[Row] = []
    taken: dict[str, list[float]] = {"ours": [], "short": [], "padded": []}
    for _ in range(rounds):
        began = time.process_time()
        ours()
        taken["ours"].append(time.process_time() - began)
        for way, length, n in (("short", None, READ), ("padded", LONG, BATCH)):
            loading, reading = reloaded(length, n)
            taken[way].append(CHECKPOINTS * (loading + reading * READ / n))
    size = f"SmolLM2-135M, {CHECKPOINTS} checkpoints x {READ} samples"
    for way, said, target, note in (
        ("short", "padded to the longest of each batch", None, f"one checkpoint timed, times {CHECKPOINTS}"),
        ("padded", f"padded to {LONG}", 8, f"{BATCH} samples of one checkpoint timed and scaled up"),
    ):
        ratios = [theirs / own for own, theirs in zip(taken["ours"], taken[way], strict=True)]
        medians = {name: statistics.median(taken[name]) for name in ("ours", way)}
        found.append(
            Row(
                "forward pass of all checkpoints of one adapter",
                size,
                f"reload for each checkpoint, {said}, logits of all positions (CPU time)",
                medians[way] / medians["ours"],
                target=target,
                seconds=medians,
                spread=(min(ratios), max(ratios)),
                rounds=rounds,
                note=note,
            )
        )
    return found


def main() -> None:
    """All rows, or some of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["tiny", "large", "forward"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        if arguments.only in {None, "tiny"}:
            packs = {k: (5, 100) if k == 16 else None for k in (1, 2, 4, 8, 16, 32)}
            rows = trained(
                subject("cities", folder), "tiny Llama", arguments.rounds, packs=packs, steps=(40, 6)
            )
            write("training_tiny", rows)
        if arguments.only == "tiny":
            return
        large = subject("smollm2_cities", folder)
        if arguments.only != "forward":
            aims: dict[int, tuple[float, float]] = dict.fromkeys((1, 4, 8), (2.5, 15.0))
            rows = trained(large, "SmolLM2-135M", arguments.rounds, packs=aims, steps=(8, 1))
            write("training_smollm2", rows)
        if arguments.only != "large":
            write("forward", checkpoints_forward(large, min(arguments.rounds, 3), folder))


if __name__ == "__main__":
    main()
