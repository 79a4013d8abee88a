"""The asset graph of one study as plain data: what depends on what, and on which settings.

What belongs here: names, edges, the settings each step reads, and the code versions that follow from them.
One table serves the Dagster assets, the workers (which check that they run the code they were sent for) and
the tests. What does not: Dagster, and any computation of the method.
"""

import hashlib
import json
from dataclasses import dataclass, replace

from memo_assets.config import Study


@dataclass(frozen=True)
class Step:
    """One asset: its upstream assets, the study fields it reads itself, the version of its algorithm.

    Raise `algorithm` whenever the same inputs would give another result: everything below becomes stale.
    """

    upstream: tuple[str, ...]
    fields: tuple[str, ...]
    algorithm: int = 1


# How each is drawn and what the report says of it stands in `study_figures`, which no worker needs.
_FIGURE_STEPS: dict[str, Step] = {
    "figure_roc": Step(("memorization", "predictor_scores", "predictor_evaluation"), ("title",)),
    "figure_over_epochs": Step(("shadow_logits", "predictor_evaluation"), ("title",), algorithm=2),
    "figure_layers": Step(("predictor_evaluation",), ("title",)),
    "figure_dynamics": Step(("shadow_logits", "memorization", "predictor_scores"), ("title",)),
    "figure_log_lira": Step(("samples", "memorization"), ("title",)),
    "figure_training": Step(("samples", "shadow_logits", "predictor_scores"), ("title",)),
    "figure_weight_norms": Step(("predictor_scores",), ("title",), algorithm=2),
    "figure_by_share": Step(("memorization", "predictor_scores", "predictor_evaluation"), ("title",)),
    "figure_by_label_epoch": Step(("memorization", "predictor_scores", "predictor_evaluation"), ("title",)),
    "figure_by_objective": Step(("memorization", "predictor_scores", "predictor_evaluation"), ("title",)),
    "figure_population": Step(("samples", "population_memorization"), ("title",)),
    "figure_attacks": Step(("memorization",), ("title",)),
    "figure_label_stability": Step(("label_stability",), ("title",)),
    "figure_skewness": Step(("memorization_skewness",), ("title",)),
}
# Of vision studies alone.
_VISION_FIGURE_STEPS: dict[str, Step] = {
    name: Step(("memorization", "predictor_scores", "predictor_evaluation"), ("title",))
    for name in ("figure_roc_by_eta", "figure_auc_by_eta")
}
# Of studies with canaries alone, and asked of all models as labels are.
_CANARY_FIGURE_STEPS: dict[str, Step] = {
    "figure_canaries": Step(
        ("samples", "shadow_logits", "predictor_scores", "predictor_evaluation"),
        ("title", "canaries.kind", "shadows.models"),
    )
}
# Of studies whose options are letters that stand for texts.
_CHOICE_STEPS: dict[str, Step] = {
    "answer_variation": Step(
        ("raw_dataset", "samples", "split_masks", "base_model", "adapters"), ("data_seed", "prompt")
    ),
    "variation_summary": Step(("samples", "memorization", "answer_variation"), ("shadows.audited",)),
}
_CHOICE_FIGURE_STEPS: dict[str, Step] = {"figure_answer_variation": Step(("variation_summary",), ("title",))}
FIGURES = (*_FIGURE_STEPS, *_VISION_FIGURE_STEPS, *_CANARY_FIGURE_STEPS, *_CHOICE_FIGURE_STEPS)

_STEPS: dict[str, Step] = {
    "raw_dataset": Step((), ("data", "data_seed")),
    "samples": Step(("raw_dataset",), ("data_seed", "noise", "canaries", "prompt")),
    "split_masks": Step(("samples",), ("shadows.train_share", "shadows.membership")),
    "base_model": Step(("raw_dataset",), ("model",)),
    "audit": Step(
        ("samples", "base_model"),
        (
            "model",
            "lora",
            "training",
            "scores.psmi_directions",
            "scores.loss_drop",
            "protection.elr",
            "protection.dp",
        ),
        algorithm=2,
    ),
    "at_risk": Step(("samples", "audit"), ()),
    "audit_report": Step(("samples", "base_model", "audit", "at_risk"), ("title", "show_text")),
    "adapters": Step(
        ("samples", "split_masks", "base_model"),
        ("model", "lora", "training", "protection.elr", "protection.dp"),
    ),
    "logits": Step(
        ("samples", "base_model", "adapters"), ("labels.queries", "protection.prune"), algorithm=4
    ),
    "layer_scores": Step(
        ("samples", "split_masks", "base_model", "adapters"),
        (
            "scores.psmi_directions",
            "scores.smi_directions",
            "scores.mahalanobis_components",
            "scores.layers",
            "protection.prune",
        ),
        algorithm=8,
    ),
    "shadow_logits": Step(("samples", "split_masks", "logits"), (), algorithm=2),
    "memorization": Step(
        ("samples", "shadow_logits"),
        ("shadows.models", "shadows.audited", "labels.attack", "labels.quantile", "labels.eta"),
        algorithm=4,
    ),
    "label_stability": Step(
        ("samples", "shadow_logits"),
        ("shadows.models", "shadows.audited", "labels.attack", "labels.quantile", "labels.eta"),
        algorithm=3,
    ),
    "memorization_skewness": Step(("samples", "memorization"), ()),
    "population_memorization": Step(("samples", "shadow_logits"), ("shadows.models",), algorithm=2),
    "predictor_scores": Step(
        ("samples", "shadow_logits", "layer_scores", "memorization"), ("scores.loss_drop",)
    ),
    "predictor_evaluation": Step(("memorization", "predictor_scores"), ()),
    **_FIGURE_STEPS,
    "report": Step(
        ("samples", "memorization", "population_memorization", "predictor_evaluation", *_FIGURE_STEPS),
        ("title", "description", "show_text"),
        algorithm=2,
    ),
}


# Of variants alone that are trained otherwise on the samples at risk; it reads the audit of the base study as well.
_PROTECTED = Step(("samples",), ("protection.base", "protection.at_risk"))
AUDIT = "audit"


def steps(study: Study) -> dict[str, Step]:
    """Steps of a study by name, upstream first; vision studies and those with choices have some of their own.

    Args:
        study: the study's settings.
    """
    found = _steps_of_kind(study)
    if study.protection is None or study.protection.at_risk is None:
        return found
    for name in (AUDIT, "adapters"):
        found[name] = replace(found[name], upstream=(*found[name].upstream, "protected"))
    items = list(found.items())
    place = [name for name, _ in items].index("split_masks")
    return dict([*items[:place], ("protected", _PROTECTED), *items[place:]])


def _steps_of_kind(study: Study) -> dict[str, Step]:
    if study.is_language:
        return (
            _with_figures(_STEPS, {**_CHOICE_STEPS, **_CHOICE_FIGURE_STEPS})
            if study.has_choices
            else dict(_STEPS)
        )
    own = {
        name: Step(tuple(up for up in step.upstream if up != "base_model"), step.fields, step.algorithm)
        for name, step in _STEPS.items()
        if name != "base_model"
    }
    return _with_figures(
        own, {**_VISION_FIGURE_STEPS, **(_CANARY_FIGURE_STEPS if study.canaries is not None else {})}
    )


def _with_figures(base: dict[str, Step], more: dict[str, Step]) -> dict[str, Step]:
    """The steps and those that only some studies have; the report shows the figures among these."""
    report, figures = base["report"], [name for name in more if name in FIGURES]
    before = {name: step for name, step in base.items() if name != "report"}
    return {**before, **more, "report": replace(report, upstream=(*report.upstream, *figures))}


def code_versions(study: Study) -> dict[str, str]:
    """Code version of every step: a hash of its algorithm, its own fields and its upstream's code versions.

    A changed field changes the versions of the steps that read it and of all below them, and of no other.

    Args:
        study: the study's settings.
    """
    settings = study.settings()
    versions: dict[str, str] = {}
    for name, step in steps(study).items():
        parts = {
            "step": name,
            "algorithm": step.algorithm,
            "fields": {
                field: value for field in step.fields if (value := _lookup(settings, field)) is not _ABSENT
            },
            "upstream": {upstream: versions[upstream] for upstream in step.upstream},
        }
        versions[name] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return versions


_ABSENT = object()


def _lookup(settings: dict[str, object], field: str) -> object:
    value: object = settings
    for part in field.split("."):
        assert isinstance(value, dict)
        value = value.get(part, _ABSENT)
        if value is _ABSENT:
            break
    return value
