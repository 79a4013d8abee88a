"""What an audit says of itself: the summary, what was tested and what was not.

What belongs here: from tables and facts to the record, and its sentences. What does not: the schema (`summary`).
"""

from importlib.metadata import version

import pandas as pd

from memo_assets import __version__
from memo_assets.audit.controls import control_records
from memo_assets.audit.models import AuditedModel
from memo_assets.audit.records import fall_in_words, risk_record, stop_in_words
from memo_assets.audit.settings import MIN_CANARIES, ROWS_PER_CANARY, AuditSettings
from memo_assets.audit.summary import (
    AuditSummary,
    CalibrationRecord,
    CostRecord,
    DataRecord,
    ModelRecord,
    RunRecord,
)
from memo_assets.compute.source import source_version
from memo_assets.training.early_run import EarlyRun

_PACKAGES = ("torch", "transformers", "peft", "numpy", "scikit-learn", "pandas")


def summarize(
    *,
    settings: AuditSettings,
    data: DataRecord,
    model: AuditedModel,
    run: EarlyRun,
    at_risk: pd.DataFrame,
    planted: pd.DataFrame,
    calibration: CalibrationRecord | None,
    seconds: dict[str, float],
    peak_memory: int,
    created: str,
) -> AuditSummary:
    """The summary of an audit, not yet sealed with the hashes of its files.

    Args:
        settings: as given.
        data: what was audited.
        model: the base model.
        run: the training run.
        at_risk: table of the user's samples.
        planted: table of the planted ones.
        calibration: with shadow models, if there were any.
        seconds: wall time by part.
        peak_memory: of the process, in bytes.
        created: time in ISO 8601.
    """
    n = len(at_risk)
    per_kind = int((planted["canary"] == "wrong_label").sum()) if len(planted) else 0
    refused = None
    if not per_kind:
        refused = (
            "no samples were planted, as asked"
            if settings.canaries == 0
            else f"{n} rows are too few to plant {MIN_CANARIES} samples of each kind among them; "
            f"{MIN_CANARIES * ROWS_PER_CANARY} rows are needed, or --canaries N"
        )
    return AuditSummary(
        created=created,
        data=data,
        model=ModelRecord(
            name=model.name, version=model.version, parameters=model.parameters, note=model.note
        ),
        run=RunRecord(
            rule=settings.rule,
            drop=settings.drop,
            reached=run.reached,
            epoch=float(run.epochs[-1]),
            steps=run.steps,
            steps_of_all_epochs=run.steps_of_all_epochs,
            reference_loss=run.reference,
            median_loss=run.median,
            message=run_message(run, settings),
        ),
        risk=risk_record(at_risk),
        controls=control_records(planted),
        controls_refused=refused,
        calibration=calibration,
        cost=CostRecord(
            seconds=round(sum(seconds.values()), 3),
            seconds_by_part=seconds,
            peak_memory_bytes=peak_memory,
            samples_trained=run.samples_trained,
            samples_run_forward=run.samples_run_forward,
            of_full_run=run.steps / run.steps_of_all_epochs,
        ),
        tested=_tested(settings, per_kind),
        not_tested=_not_tested(settings, run, per_kind),
        settings=settings.model_dump(mode="json"),
        versions={
            "memo_assets": __version__,
            "source": source_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    )


def run_message(run: EarlyRun, settings: AuditSettings) -> str:
    """What the run's end means for the reader."""
    if run.reached:
        return stop_in_words(run.reference, run.median, steps=run.steps, epoch=float(run.epochs[-1]))
    return (
        f"{fall_in_words(run.reference, run.median)} in {settings.epochs} epochs, not by {settings.drop:.0%}: there is no prediction "
        "epoch, and the scores are those of the last one, at which PSMI's rule has not been studied. Train longer (--epochs), raise "
        "--learning-rate, or ask for less (--drop)"
    )


def _tested(settings: AuditSettings, per_kind: int) -> list[str]:
    found = [
        "which samples the hidden states of the last layer do not support (PSMI below 0), at the epoch where the median loss is low",
        "which labels the model contradicts (confident learning), which texts are alike or equal",
    ]
    if per_kind:
        found.append(
            "whether planted samples that can only be learned by heart are flagged, and ordinary ones are not"
        )
    if settings.shadows:
        found.append(
            f"the rule, by labels of {settings.shadows} shadow models and a membership inference attack (LiRA)"
        )
    return found


def _not_tested(settings: AuditSettings, run: EarlyRun, per_kind: int) -> list[str]:
    found = [
        "Whether flagged samples can be extracted as text: memorized here means that membership can be inferred.",
        "Your own training code, hyperparameters and seed: the audit trains LoRA adapters with its own recipe. Another recipe "
        "memorizes other samples; MemorizationMonitor scores inside your own loop.",
        "What a later epoch memorizes beyond what is seen at the prediction epoch.",
        "Attacks that know more than the model's outputs on labelled samples.",
        "Whether removing or changing flagged samples protects them, and whether others then take their place.",
    ]
    if not settings.shadows:
        found.insert(
            0,
            "How many flagged samples the finished model memorizes (precision), and how many it memorizes unflagged: that takes "
            "shadow models (--shadows 8 or more).",
        )
    if not per_kind:
        found.append("Positive and negative controls: no samples were planted.")
    if not run.reached:
        found.append("The prediction epoch: it was never reached.")
    return found
