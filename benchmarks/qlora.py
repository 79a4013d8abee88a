"""QLoRA beside float32: one model of `smollm2_cities` trained for an epoch on the same base in three precisions.

    python benchmarks/qlora.py [--precisions fp32 nf4 int8] [--out benchmarks/results/qlora.json]

Prints, for each precision, the answer loss and accuracy after one epoch, the bytes of the base's weights, and the
CPU seconds of training and of the forward pass, on one thread, as ratios to the first precision in this very run.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from memo_assets.config import Training
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples
from memo_assets.data.splits import split_mask
from memo_assets.data.tokens import tokenize
from memo_assets.measures.lira import logit_gap
from memo_assets.models.base import load_base
from memo_assets.models.gguf import convert_gguf, gguf_file
from memo_assets.study import Study, load_study
from memo_assets.training.forward import forward
from memo_assets.training.language import LanguageTask
from memo_assets.training.loop import train


def run(study: Study, folder: Path, precision: str) -> dict[str, float]:
    """Train split seed 0 for one epoch over the base in a precision; what came of it and what it cost."""
    assert study.lora is not None
    samples = build_samples(load_items(study.data, study.data_seed, Path.cwd()), study)
    pool = np.flatnonzero(samples["part"] == "pool")
    rows = pool[split_mask(len(pool), study.shadows.train_share, 0)]
    model, tokenizer = load_base(folder, precision)  # pyright: ignore[reportArgumentType]
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}.values()
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    task = LanguageTask(model, tokenize(samples, tokenizer), study.lora, seeds=[0])
    began = time.process_time()
    start = forward(task)
    forward_seconds = time.process_time() - began
    recipe = Training.model_validate({**study.training.model_dump(), "epochs": 1, "checkpoints": [0.0, 1.0]})
    began = time.process_time()
    with tempfile.TemporaryDirectory() as state:
        train(
            task,
            rows[None],
            recipe,
            state_path=Path(state) / "training.safetensors",
            on_checkpoint=lambda *_: None,
        )
    train_seconds = time.process_time() - began
    end = forward(task)
    right = logit_gap(end.option_logits, samples["given_index"].to_numpy())[0] > 0
    is_test = (samples["part"] == "test").to_numpy()
    return {
        "base_megabytes": size / 1e6,
        "loss_before": float(start.loss[0, rows].mean()),
        "median_train_loss": float(np.median(end.loss[0, rows])),
        "mean_train_loss": float(end.loss[0, rows].mean()),
        "train_accuracy": float(right[rows].mean()),
        "test_accuracy": float(right[is_test].mean()),
        "train_seconds": train_seconds,
        "forward_seconds": forward_seconds,
    }


def main() -> None:
    """Run the precisions one after the other and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precisions", nargs="+", default=["fp32", "nf4", "int8"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/qlora.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("smollm2_cities")
    assert study.model.kind == "gguf"
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "base"
        convert_gguf(gguf_file(study.model), folder)
        for precision in arguments.precisions:
            results[precision] = run(study, folder, precision)
            print(precision, results[precision], flush=True)
    first = results[arguments.precisions[0]]
    for result in results.values():
        for name in ("train_seconds", "forward_seconds"):
            result[f"{name.removesuffix('_seconds')}_time_ratio"] = result[name] / first[name]
    for result in results.values():
        del result["train_seconds"], result["forward_seconds"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    names = list(first)
    print("| precision |", " | ".join(names), "|")
    print("|---" * (len(names) + 1) + "|")
    for precision, result in results.items():
        print(f"| {precision} |", " | ".join(f"{result[name]:.3g}" for name in names), "|")


if __name__ == "__main__":
    main()
