"""The audit of a study: its table and its summary, from what the step `audit` wrote.

What belongs here: what differs from the audit of a user's own file: no planted samples, but label noise and canaries of the study.
What does not: the training run (`compute.audit_step`), Dagster (`assets.audit`).
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from memo_assets import __version__
from memo_assets.audit.records import fall_in_words, risk_record, stop_in_words
from memo_assets.audit.result import AuditResult
from memo_assets.audit.summary import (
    AuditSummary,
    ControlRecord,
    CostRecord,
    DataRecord,
    Expected,
    ModelRecord,
    RateRecord,
    RunRecord,
)
from memo_assets.config import Study
from memo_assets.data.duplicates import looked_for, nearest_samples
from memo_assets.data.samples import content_digests
from memo_assets.measures.intervals import exact_rate
from memo_assets.measures.risk import ranked

_CONTROLS: dict[str, tuple[str, Expected]] = {
    "wrong label": (
        "samples whose label the study's noise made a wrong one: can only be learned by heart",
        "flagged",
    ),
    "canary": ("the study's canaries", "flagged"),
    "label as given": ("all other samples: to be flagged less often", "not flagged"),
}
_PACKAGES = ("torch", "transformers", "numpy", "scikit-learn", "duckdb", "dagster")


def at_risk_table(samples: pd.DataFrame, scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Columns of the table `at_risk`, without the study.

    Args:
        samples: all samples of the study.
        scores: what the step `audit` wrote.
        seed: of the search for similar texts.
    """
    pool = samples.set_index("sample_id").loc[scores["sample_id"]]
    wanted = looked_for(scores["flagged"].to_numpy())
    nearest = nearest_samples(pool, wanted, seed=seed)
    content = pool["image"].map(bytes) if "image" in pool else pool["text"]
    ids = pd.array([*scores["sample_id"], pd.NA], dtype="Int64")  # the last one stands for -1
    names = [
        None if index < 0 else options[index]
        for index, options in zip(scores["suspected_index"], pool["options"], strict=True)
    ]
    table = scores.drop(columns="suspected_index").assign(
        suspected_label=pd.Series(names, dtype=object),
        nearest=ids[nearest.place],
        similarity=nearest.similarity,
        copies=content.groupby(content).transform("size").to_numpy() - 1,
    )
    return ranked(table)


def study_result(
    study: Study,
    samples: pd.DataFrame,
    table: pd.DataFrame,
    run: dict[str, Any],
    *,
    model: ModelRecord,
    created: str,
) -> AuditResult:
    """The audit's result as that of a user's own data.

    Args:
        study: the study.
        samples: all samples of the study.
        table: of `at_risk_table`.
        run: facts of the step `audit`, and what it took.
        model: the base model, or the network.
        created: time in ISO 8601.
    """
    pool = samples.set_index("sample_id").loc[table["sample_id"]]
    controls = _controls(pool, table["flagged"].to_numpy(), table["suspected_label"].notna().to_numpy())
    counts = pool["given_label"].value_counts().sort_index()
    shown = table.assign(item_id=pool["item_id"].to_numpy(), label=pool["given_label"].to_numpy())
    if study.show_text and study.is_language:
        shown = shown.assign(text=pool["text"].to_numpy())
    summary = AuditSummary(
        created=created,
        data=DataRecord(
            source=study.title,
            rows=len(table),
            sha256=content_digests(samples),
            text_column="prompt" if study.is_language else "image",
            label_column="given_label",
            labels={str(name): int(count) for name, count in counts.items()},
            answers="labels",
            answers_in_words="as the study asks for them",
            template="" if study.prompt is None else " | ".join(study.prompt.templates),
            cut_prompts=0,
        ),
        model=model,
        run=RunRecord(
            rule="running",
            message=_message(run),
            **{name: run[name] for name in RunRecord.model_fields if name not in ("rule", "message")},
        ),
        risk=risk_record(table),
        controls=controls,
        controls_refused=None if controls else "the study has neither label noise nor canaries",
        calibration=None,
        cost=CostRecord(
            seconds=run["seconds"],
            seconds_by_part={"training run and scores": run["seconds"]},
            peak_memory_bytes=run["peak_memory_bytes"],
            samples_trained=run["samples_trained"],
            samples_run_forward=run["samples_run_forward"],
            of_full_run=run["steps"] / run["steps_of_all_epochs"],
        ),
        tested=[
            "which pool samples the hidden states of the last layer do not support (PSMI below 0), where the median loss is low",
            *(
                ["whether noisy labels and canaries of the study are flagged, and others are not"]
                if controls
                else []
            ),
        ],
        not_tested=[
            "How many flagged samples a finished model memorizes: the study's memorization labels and its report say that of the "
            "audited models, each trained on a share of the pool.",
            "Whether flagged samples can be extracted as text: memorized here means that membership can be inferred.",
            "Another recipe, seed or model.",
        ],
        settings=study.settings(),
        versions={"memo_assets": __version__, **{name: version(name) for name in _PACKAGES}},
    )
    losses = pd.DataFrame({"epoch": run["epochs"], "median_loss": run["median_losses"]})
    return AuditResult(summary, shown, pd.DataFrame(), losses)


def _controls(pool: pd.DataFrame, flagged: np.ndarray, suspected: np.ndarray) -> list[ControlRecord]:
    """Detection rates of what the study itself made hard to learn; none where it made nothing so."""
    wrong = (pool["given_label"] != pool["true_label"]).to_numpy()
    canary = pool["canary"].notna().to_numpy() if "canary" in pool else np.zeros(len(pool), dtype=bool)
    if not (wrong | canary).any():
        return []
    groups = {"wrong label": wrong & ~canary, "canary": canary, "label as given": ~wrong & ~canary}
    return [
        ControlRecord(
            kind=kind,
            meaning=_CONTROLS[kind][0],
            expected=_CONTROLS[kind][1],
            flagged=RateRecord.of(exact_rate(int(flagged[rows].sum()), int(rows.sum()))),
            suspected=RateRecord.of(exact_rate(int(suspected[rows].sum()), int(rows.sum()))),
        )
        for kind, rows in groups.items()
        if rows.any()
    ]


def _message(run: dict[str, Any]) -> str:
    reference, median = run["reference_loss"], run["median_loss"]
    if run["reached"]:
        return stop_in_words(reference, median, steps=run["steps"], epoch=run["epoch"])
    return (
        f"{fall_in_words(reference, median)} only, not by {run['drop']:.0%}: the scores are those of the last epoch, at which PSMI's "
        "rule has not been studied"
    )
