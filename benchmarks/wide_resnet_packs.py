"""WideResNets trained in packs of several sizes, beside one alone: seconds of a model and step.

    python benchmarks/wide_resnet_packs.py [--rounds 3] [--out benchmarks/results/wide_resnet_packs.json]

Two networks: depth 10, width 1 on grey images of 8 x 8 pixels, and depth 16, width 4 on colour images of 32 x 32. Packs
are timed in turn, forward and backward on batches of 32, on one thread; prints medians over the rounds and their ratios
to a network alone in this very run.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from memo_assets.models.packed_wide_resnet import PackedWideResNet
from memo_assets.training.vision import VisionTask

BATCH, PACKS = 32, (1, 2, 4, 8)
NETWORKS = {
    "depth 10, width 1, 1 x 8 x 8": (10, 1, (1, 8, 8), 20),
    "depth 16, width 4, 3 x 32 x 32": (16, 4, (3, 32, 32), 1),
}


def tasks(depth: int, width: int, shape: tuple[int, int, int]) -> dict[int, VisionTask]:
    """Networks in packs, by the size of the pack, over one set of random images."""
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, int(np.prod(shape))), dtype=np.float32)
    labels = rng.integers(0, 10, BATCH)
    networks = {
        pack: PackedWideResNet(shape, 10, depth=depth, width=width, seeds=range(pack)) for pack in PACKS
    }
    return {
        pack: VisionTask(network, images, labels, image_shape=shape) for pack, network in networks.items()
    }


def seconds(task: VisionTask, steps: int) -> float:
    """Of one model and step."""
    rows = np.tile(np.arange(BATCH), (len(task.seeds), 1))
    began = time.perf_counter()
    for step in range(steps):
        task.losses(rows, step).mean(dim=1).sum().backward()
    return (time.perf_counter() - began) / steps / len(task.seeds)


def main() -> None:
    """Time all packs in turn, print a table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/wide_resnet_packs.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, (depth, width, shape, steps) in NETWORKS.items():
        of_packs = tasks(depth, width, shape)
        for task in of_packs.values():
            seconds(task, 1)  # warms up
        taken = {pack: [] for pack in PACKS}
        for _ in range(arguments.rounds):
            for pack, task in of_packs.items():
                taken[pack].append(seconds(task, steps))
        medians = {pack: float(np.median(of_pack)) for pack, of_pack in taken.items()}
        results[name] = [
            {"pack": pack, "milliseconds": 1000 * median, "ratio_to_one_alone": median / medians[1]}
            for pack, median in medians.items()
        ]
        for row in results[name]:
            print(
                f"{name}, pack of {row['pack']}: {row['milliseconds']:.1f} ms a model and step, {row['ratio_to_one_alone']:.2f}"
            )
    machine = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": 1,
    }
    content = {"machine": machine, "rounds": arguments.rounds, "batch": BATCH, "results": results}
    arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
