"""What would be submitted for a study, as sbatch would get it: nothing is written or asked."""

from memo_assets.compute.items import packs, seeds_in_words
from memo_assets.compute.slurm.script import array_script
from memo_assets.compute.slurm.settings import slurm_settings
from memo_assets.config import GpuStep, Study
from memo_assets.store.layout import Layout

GPU_STEPS: tuple[GpuStep, ...] = (
    "base_model",
    "audit",
    "adapters",
    "logits",
    "layer_scores",
    "answer_variation",
)
_WITHOUT_SEEDS = ("base_model", "audit")


def preview(study: Study, step: GpuStep) -> str:
    """The batch script of one asset for all its split seeds, under a few lines that say what it does.

    Args:
        study: the study.
        step: the asset.

    Raises:
        ExecutorError: the site's file is invalid.
    """
    seeds = (
        sorted(study.shadows.audited) if step in ("layer_scores", "answer_variation") else list(study.seeds)
    )
    grid = [] if step in _WITHOUT_SEEDS else packs(study, seeds)
    tasks = max(len(grid), 1)
    array = f"{study.name}-{step}-preview"
    folder = Layout.of(study.name).work / "arrays" / step / array
    text = array_script(
        slurm_settings(study, step),
        folder,
        name=f"memo-{array}",
        tasks=min(tasks, 1000),
        threads=study.compute.threads,
    )
    lines = [f"# {study.name}/{step}: {_tasks(tasks, grid)}"]
    if tasks > 1000:
        lines.append(f"# in {-(-tasks // 1000)} arrays of up to 1000 tasks")
    return "\n".join([*lines, text])


def _tasks(tasks: int, grid: list[list[int]]) -> str:
    if not grid:
        return "1 task"
    largest = max(map(len, grid))
    ends = f"the first {seeds_in_words(grid[0])}, the last {seeds_in_words(grid[-1])}"
    return f"{tasks} task{'s' * (tasks > 1)} of up to {largest} split seed{'s' * (largest > 1)}; {ends}"
