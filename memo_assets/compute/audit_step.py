"""The step `audit`: one model over the whole pool, stopped early, and the scores of every sample.

What belongs here: from a work item to the files of the audit. What does not: the run (`training.early_run`), the scores
(`early_scores`), the page and its words (`audit`).
"""

import time

import numpy as np
import pyarrow as pa

from memo_assets.compute.early_scores import score_samples
from memo_assets.compute.inputs import audited_set, make_task
from memo_assets.compute.items import NO_SEED, SeedResult, WorkItem
from memo_assets.compute.memory import peak_memory_bytes
from memo_assets.compute.reporting import OnProgress, Results, say
from memo_assets.config import Study, Trigger
from memo_assets.config.recipe import Training, early_trigger
from memo_assets.store.files import content_hash, write_json, write_parquet
from memo_assets.training.early_run import run_until_low_loss
from memo_assets.training.interruption import ShouldStop, never

SEED = 1_000_000  # beyond all split seeds, so that the weights begin as those of no model of the study


def audit_recipe(study: Study, n_train: int) -> Training:
    """The study's recipe for the audit: stopped by the running median, looked at after every epoch as well.

    Args:
        study: the study.
        n_train: samples of the pool.
    """
    own = study.training
    trigger = own.trigger or Trigger(drop=study.scores.loss_drop)
    return own.model_copy(
        update={
            "checkpoints": [float(epoch) for epoch in range(own.epochs + 1)],
            "trigger": early_trigger(trigger, n_train),
        }
    )


def audit(item: WorkItem, on_progress: OnProgress, should_stop: ShouldStop = never) -> Results:
    """Train one model on the whole pool until its median loss is low; write the scores of every sample there.

    In a protected variant, on what is left of the pool: do others take the place of the samples that were treated?
    """
    started = time.perf_counter()
    study, layout = item.study, item.layout
    samples, treated = audited_set(item)
    rows = np.flatnonzero((samples["part"] == "pool").to_numpy() & ~treated)
    recipe = audit_recipe(study, len(rows))
    assert recipe.trigger is not None
    task = make_task(item.model_copy(update={"seeds": [SEED]}), samples)
    run = run_until_low_loss(
        task,
        rows,
        recipe,
        item.folder / "state",
        drop=recipe.trigger.drop,
        dp=None if study.protection is None else study.protection.dp,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    say(
        f"audit: {'stopped' if run.reached else 'never low enough, ended'} at epoch {run.epochs[-1]:.3g} after {run.steps} steps, "
        f"median loss {run.reference:.4f} to {run.median:.4f}"
    )
    directions = study.scores.psmi_directions
    pool = samples.iloc[rows]
    scores = score_samples(
        run, pool["given_label"].to_numpy(), pool["given_index"].to_numpy(), directions=directions
    )
    scores.insert(0, "sample_id", pool["sample_id"].to_numpy())
    write_parquet(layout.audit_scores, pa.Table.from_pandas(scores, preserve_index=False))
    facts = {
        "reached": run.reached,
        "epoch": float(run.epochs[-1]),
        "steps": run.steps,
        "steps_of_all_epochs": run.steps_of_all_epochs,
        "reference_loss": run.reference,
        "median_loss": run.median,
        "samples_trained": run.samples_trained,
        "samples_run_forward": run.samples_run_forward,
        "drop": recipe.trigger.drop,
        "epochs": run.epochs.tolist(),
        "median_losses": np.median(run.losses, axis=1).astype(np.float64).tolist(),
        "parameters": sum(weight.numel() for weight in task.parameters().values()),
    }
    write_json(layout.audit_run, facts)
    # By itself, for it differs from run to run and makes nothing stale.
    cost = {"seconds": round(time.perf_counter() - started, 3), "peak_memory_bytes": peak_memory_bytes()}
    write_json(layout.audit_cost, cost)
    shown = {name: facts[name] for name in ("reached", "epoch", "steps")}
    flagged = int(scores["flagged"].sum())
    version = content_hash(layout.audit_scores, layout.audit_run)
    return {
        NO_SEED: SeedResult(data_version=version, facts={**shown, "flagged": flagged, "samples": len(scores)})
    }
