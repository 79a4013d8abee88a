"""The graph of a study: which setting makes which steps stale."""

from typing import Any

import pytest

from memo_assets.config import Queries, Study
from memo_assets.graph import FIGURES, code_versions, steps
from memo_assets.study_figures import STUDY_FIGURES
from memo_assets_tests.studies import CITIES, DIGITS, TABLE, changed, study

ALL = set(steps(study(CITIES)))
SAMPLES_DOWN = ALL - {"raw_dataset", "base_model"}
ADAPTERS_DOWN = SAMPLES_DOWN - {"samples", "split_masks"}
WITHOUT_SCORES = {
    "figure_log_lira", "figure_population", "figure_attacks", "figure_label_stability", "figure_skewness"
}  # fmt: skip
OF_VISION = {"figure_roc_by_eta", "figure_auc_by_eta", "figure_canaries"}
OF_CHOICES = {"figure_answer_variation"}
OF_SOME = OF_VISION | OF_CHOICES
SCORES_DOWN = {"predictor_scores", "predictor_evaluation", "report", *FIGURES} - WITHOUT_SCORES - OF_SOME
AUDIT = {"audit", "at_risk", "audit_report"}
STABILITY = {"label_stability", "figure_label_stability"}
SKEWNESS = {"memorization_skewness", "figure_skewness"}
LABELS_DOWN = {"memorization", "figure_log_lira", "figure_attacks", *STABILITY, *SKEWNESS, *SCORES_DOWN}

# dotted field, new value, steps whose code version changes
CHANGES: list[tuple[str, Any, set[str]]] = [
    ("data.items", 22, ALL),
    ("data_seed", 1, ALL),
    ("noise.share", 0.1, SAMPLES_DOWN),
    ("prompt.templates", ["{text}:"], SAMPLES_DOWN),
    ("shadows.train_share", 0.6, SAMPLES_DOWN - {"samples", *AUDIT}),
    ("shadows.membership", "paired", SAMPLES_DOWN - {"samples", *AUDIT}),
    ("model.epochs", 2, {"base_model", *ADAPTERS_DOWN}),
    ("lora.rank", 3, ADAPTERS_DOWN),
    ("training.learning_rate", 0.02, ADAPTERS_DOWN),
    ("training.checkpoints", [0, 2], ADAPTERS_DOWN),
    ("training.accumulation", 2, ADAPTERS_DOWN),
    ("training.max_length", 64, ADAPTERS_DOWN),
    ("training.loss", "text", ADAPTERS_DOWN),
    ("training.optimizer", "sgd", ADAPTERS_DOWN),
    ("training.max_grad_norm", None, ADAPTERS_DOWN),
    ("training.trigger", {"window": 20}, ADAPTERS_DOWN),
    ("prompt.scoring", "sequence", SAMPLES_DOWN),
    ("scores.psmi_directions", 50, {"layer_scores", *AUDIT, *SCORES_DOWN}),
    ("scores.psmi_directions", "auto", {"layer_scores", *AUDIT, *SCORES_DOWN}),
    ("scores.layers", [-1], {"layer_scores", *SCORES_DOWN}),
    ("scores.smi_directions", 50, {"layer_scores", *SCORES_DOWN}),
    ("scores.mahalanobis_components", 50, {"layer_scores", *SCORES_DOWN}),
    ("scores.loss_drop", 0.5, AUDIT | SCORES_DOWN),
    ("shadows.models", 5, {"population_memorization", "figure_population", *LABELS_DOWN}),
    ("shadows.audited", [1], LABELS_DOWN),
    ("labels.quantile", 0.8, LABELS_DOWN),
    ("labels.eta", 4.0, LABELS_DOWN),
    ("labels.attack", "rmia", LABELS_DOWN),
    ("title", "Another", {"report", "audit_report", *FIGURES} - OF_SOME),
    ("description", "In other words", {"report"}),
    ("show_text", True, {"report", "audit_report"}),
    ("name", "renamed", set()),
    ("shadows.block", 2, set()),
    ("compute.device", "cpu", set()),
    ("compute.pack", 3, set()),
    ("compute.workers", 1, set()),
    ("compute.threads", 2, set()),
    ("compute.slurm.partition", "gpu", set()),
    ("compute.slurm.time", "20:00:00", set()),
    ("compute.slurm_by_asset", {"adapters": {"cpus": 4}}, set()),
    ("nightly", {"max_seeds_per_night": 3}, set()),
    ("owners", ["team:privacy"], set()),
]


def differing(one: Study, other: Study) -> set[str]:
    before, after = code_versions(one), code_versions(other)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(("field", "value", "expected"), CHANGES, ids=[field for field, *_ in CHANGES])
def test_a_changed_field_marks_the_steps_that_read_it_and_all_below(
    field: str, value: object, expected: set[str]
) -> None:
    assert differing(study(CITIES), study(CITIES, {field: value})) == expected


def test_no_block_of_settings_is_forgotten() -> None:
    blocks = {field.split(".")[0] for field, *_ in CHANGES}
    # Canaries are of image studies, tested below; test_study_protections.py tests protections.
    assert blocks | {"canaries", "protection"} == set(Study.model_fields)
    read = {field.split(".")[0] for step in steps(study(CITIES)).values() for field in step.fields}
    assert set(Study.model_fields) - read == {"name", "compute", "nightly", "owners"}


def test_a_field_that_came_later_changes_no_code_version_at_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = study(CITIES)
    before = code_versions(base)
    spelled_out = {"training.accumulation": 1, "training.trigger": None, "prompt.scoring": "token"}
    assert differing(base, study(CITIES, spelled_out)) == set()
    monkeypatch.setattr(type(base.training), "added_later", frozenset())
    assert {name for name, version in code_versions(base).items() if version != before[name]} == ADAPTERS_DOWN


def test_every_field_that_a_step_reads_exists() -> None:
    of = study(CITIES, {"protection": {"base": "towns", "mitigation": "drop", "at_risk": "drop"}})
    settings = of.model_dump(mode="json")
    for step in steps(of).values():
        for field in step.fields:
            place = settings
            for part in field.split("."):
                place = place[part]


def test_a_raised_algorithm_marks_its_step_and_all_below(monkeypatch: pytest.MonkeyPatch) -> None:
    from memo_assets import graph

    before = code_versions(study(CITIES))
    step = graph._STEPS["logits"]
    monkeypatch.setitem(graph._STEPS, "logits", graph.Step(step.upstream, step.fields, step.algorithm + 1))
    after = code_versions(study(CITIES))
    assert {name for name in before if before[name] != after[name]} == ADAPTERS_DOWN - {
        "adapters",
        "layer_scores",
        *AUDIT,
    }


def test_spelling_out_a_default_changes_nothing() -> None:
    assert differing(study(DIGITS), study(DIGITS, {"noise.share": 0.0, "data.items": 90})) == set()
    assert differing(study(DIGITS), study(DIGITS, {"training.checkpoints": [0.0, 1.0, 2.0]})) == set()


def test_a_vision_study_has_no_base_model() -> None:
    vision = steps(study(DIGITS))
    own = {"figure_roc_by_eta", "figure_auc_by_eta"}
    assert set(vision) == (ALL - {"base_model"}) | own
    assert set(vision["report"].upstream) >= own
    assert all("base_model" not in step.upstream for step in vision.values())
    assert "base_model" in steps(study(TABLE))["adapters"].upstream


def test_a_study_with_choices_varies_its_questions_and_nothing_else_changes():
    """Letters that stand for texts of each sample's own; where options are the labels there is nothing to replace."""
    plain, choices = study(TABLE), study(TABLE, {"data.choices": "choices"})
    own = {"answer_variation", "variation_summary", "figure_answer_variation"}
    assert set(steps(choices)) == set(steps(plain)) | own
    assert "figure_answer_variation" in steps(choices)["report"].upstream
    assert "variation_summary" not in steps(choices)["report"].upstream  # the report shows the figure alone
    assert not own & (set(steps(study(CITIES))) | set(steps(study(DIGITS))))
    relabelled = differing(choices, study(TABLE, {"data.choices": "choices", "labels.quantile": 0.8}))
    assert {"variation_summary", "figure_answer_variation"} <= relabelled
    assert "answer_variation" not in relabelled  # no model is asked anew


@pytest.mark.parametrize("base", [DIGITS, TABLE, CITIES, changed(TABLE, {"data.choices": "choices"})])
def test_steps_come_upstream_first(base: dict) -> None:
    done: set[str] = set()
    for name, step in steps(study(base)).items():
        assert set(step.upstream) <= done
        done.add(name)


def test_every_figure_of_the_graph_can_be_drawn_and_no_other():
    assert sorted(FIGURES) == sorted(entry.name for entry in STUDY_FIGURES)


def test_queries_are_asked_anew_but_nothing_is_trained_anew():
    before = code_versions(study(DIGITS))
    shifted = study(DIGITS, {"labels.queries": {"shift": 1}})
    after = code_versions(shifted)
    assert {name for name in before if before[name] == after[name]} == {
        "raw_dataset", "samples", "split_masks", "adapters", "layer_scores", *AUDIT
    }  # fmt: skip
    mirrored = study(DIGITS, {"labels.queries": {"shift": 1, "flip": True}})
    assert differing(shifted, mirrored) == {name for name in before if before[name] != after[name]}


def test_queries_that_are_not_mirrored_are_those_of_before_there_were_mirrored_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shifted = study(DIGITS, {"labels.queries": {"shift": 1}})
    before = code_versions(shifted)["logits"]
    spelled_out = study(DIGITS, {"labels.queries": {"shift": 1, "flip": False}})
    assert code_versions(spelled_out)["logits"] == before
    monkeypatch.setattr(Queries, "added_later", frozenset())
    assert code_versions(shifted)["logits"] != before  # the field would count


def test_a_study_with_canaries_has_their_figure_and_new_samples():
    before = code_versions(study(DIGITS))
    after = code_versions(study(DIGITS, {"canaries": {"kind": "ood", "count": 5}}))
    assert after.keys() - before.keys() == {"figure_canaries"}
    assert {name for name in before if before[name] == after[name]} == {"raw_dataset"}
