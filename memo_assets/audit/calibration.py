"""How far the rule can be trusted on this data and model: few shadow models, each the target of an attack by the others.

What belongs here: training the shadows, their labels, the rule judged by them. What does not: attack and intervals
(`measures`).
"""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from memo_assets.audit.summary import CalibrationRecord, RateRecord
from memo_assets.compute.scores import psmi_where_shared
from memo_assets.config import Training
from memo_assets.measures.intervals import bootstrap_rate
from memo_assets.measures.lira import log_lira_loo, logit_gap
from memo_assets.store.files import atomic_path
from memo_assets.training.early_run import OnProgress
from memo_assets.training.forward import forward
from memo_assets.training.interruption import Interrupted, ShouldStop, never
from memo_assets.training.loop import CheckpointStats, train
from memo_assets.training.task import Task

PACK = 8
QUANTILE = 0.9
_HALVES = 0x5AD0
_NOTE = (
    "labels of {n} shadow models are noisy: on the study digits fixed-variance LiRA with 8 models found .74 of the top tenth by "
    "256 models, with 32 models .86 (make bench-shadows). What the labels get wrong lowers precision and recall"
)


def calibrate(
    make_task: Callable[[Sequence[int]], Task],
    given_label: np.ndarray,
    given_index: np.ndarray,
    recipe: Training,
    folder: Path,
    *,
    shadows: int,
    drop: float,
    directions: int,
    seed: int,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop = never,
) -> CalibrationRecord:
    """Judge the rule PSMI < 0 by labels of few shadow models.

    Each model trains on a random half of the samples, two models sharing them out between them, for all epochs. The rule is
    read at the model's first checkpoint whose median loss on its training samples has fallen far enough; a model that never
    gets there counts at its last. Labels: leave-one-out LiRA with one variance for all samples, at the last epoch, the top
    tenth of each model's training samples.

    Args:
        make_task: fresh models of some seeds over the data.
        given_label: [N], the labels trained on; the classes of PSMI.
        given_index: int [N], their places among each sample's options.
        recipe: the shadows' recipe.
        folder: keeps what each pack gave; a pack that is killed starts anew.
        shadows: number of models, even.
        drop: share by which the median loss must fall.
        directions: of PSMI.
        seed: of the halves and of the intervals.
        on_progress: called with units done, units in all, and what is counted.
        should_stop: asked after every step.

    Raises:
        Interrupted: `should_stop` said yes; the same call goes on with the pack that was under way.
    """
    n = len(given_label)
    member = np.zeros((shadows, n), dtype=bool)
    for pair in range(shadows // 2):  # of an odd number of samples one is left out
        order = np.random.default_rng([seed, _HALVES, pair]).permutation(n)
        member[2 * pair, order[: n // 2]] = True
        member[2 * pair + 1, order[n // 2 : n // 2 * 2]] = True
    packs = [list(range(first, min(first + PACK, shadows))) for first in range(0, shadows, PACK)]
    gaps, flagged, reached = np.empty((shadows, n)), np.zeros((shadows, n), dtype=bool), 0
    for place, pack in enumerate(packs):
        kept = folder / f"pack={place}.safetensors"
        if not kept.is_file():
            found = _run_pack(
                make_task(pack),
                [np.flatnonzero(member[k]) for k in pack],
                (given_label, given_index),
                recipe,
                folder=folder / f"pack={place}",
                drop=drop,
                directions=directions,
                told=_told(on_progress, place, len(packs)),
                should_stop=should_stop,
            )
            with atomic_path(kept) as temporary:
                save_file(found, temporary)
            gc.collect()
        found = load_file(kept)
        gaps[pack], flagged[pack] = found["gaps"], found["flagged"]
        reached += int(found["reached"].sum())
    scores = log_lira_loo(gaps.T[:, :, None], member.T, fixed_variance=True)  # [N, S]
    memorized = np.zeros((n, shadows), dtype=bool)
    for k in range(shadows):
        own = scores[member[k], k]
        memorized[member[k], k] = own >= np.quantile(own, QUANTILE)
    inside, caught = member.T, flagged.T & member.T

    def rate(counted: np.ndarray, of: np.ndarray) -> RateRecord:
        return RateRecord.of(bootstrap_rate(counted.sum(axis=1), of.sum(axis=1), seed=seed))

    return CalibrationRecord(
        shadows=shadows,
        epochs=recipe.epochs,
        labels="leave-one-out LiRA, one variance for all samples, top tenth of each model's training samples",
        reached=reached,
        memorized_share=float(memorized.sum() / inside.sum()),
        precision=rate(caught & memorized, caught),
        recall=rate(caught & memorized, memorized),
        false_positive_rate=rate(caught & ~memorized, inside & ~memorized),
        note=_NOTE.format(n=shadows),
    )


def _run_pack(
    task: Task,
    rows: list[np.ndarray],
    given: tuple[np.ndarray, np.ndarray],
    recipe: Training,
    *,
    folder: Path,
    drop: float,
    directions: int,
    told: Callable[[int, int], None],
    should_stop: ShouldStop,
) -> dict[str, np.ndarray]:
    """Gaps [K, N], logit gaps at the end; flagged bool [K, N], by the rule early on; reached bool [K], a prediction epoch."""
    given_label, given_index = given
    n_models, every = len(rows), np.arange(len(given_label))
    flagged, reference = np.zeros((n_models, len(every)), dtype=bool), np.zeros(n_models)
    waiting = set(range(n_models))

    def look(epoch: float, step: int, _: CheckpointStats) -> None:
        if step and not waiting:
            return
        outputs = forward(task, every, hidden="last" if step else False)
        medians = [float(np.median(outputs.loss[k, rows[k]])) for k in range(n_models)]
        if not step:
            reference[:] = medians
            return
        assert outputs.hidden is not None
        for k in sorted(waiting):
            low = medians[k] < (1 - drop) * reference[k]
            if low or epoch == recipe.epochs:
                states = outputs.hidden[-1][k, rows[k]]
                found = psmi_where_shared(states, given_label[rows[k]], n_directions=directions)
                flagged[k, rows[k]] = found.mean < 0
            if low:
                waiting.discard(k)

    # What the looks found is in no file beside the state, so a killed pack starts anew.
    state = folder / "training.safetensors"
    state.unlink(missing_ok=True)
    try:
        train(
            task,
            np.stack(rows),
            recipe,
            state_path=state,
            on_checkpoint=look,
            on_progress=told,
            should_stop=should_stop,
        )
    except Interrupted as stopped:
        raise Interrupted(stopped.done, stopped.total, stopped.unit, kept=False) from stopped
    final = forward(task, every)
    gaps = np.stack([logit_gap(final.option_logits[k], given_index) for k in range(n_models)])
    reached = np.array([k not in waiting for k in range(n_models)])
    return {"gaps": gaps, "flagged": flagged, "reached": reached}


def _told(on_progress: OnProgress | None, place: int, packs: int) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(place * total + done, packs * total, "steps of shadow models")

    return told
