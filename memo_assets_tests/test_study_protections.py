"""The block `protections`: which variants a study file makes, what it changes, and what is refused."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from memo_assets.config.protection import Dp, Elr, Mitigation, Protections
from memo_assets.definitions import build_defs
from memo_assets.graph import code_versions, steps
from memo_assets.study_file import StudyError, load_studies, load_study, read_variants
from memo_assets.study_protections import protected_studies, protected_variants
from memo_assets.study_sweep import swept_studies
from memo_assets_tests.studies import CITIES, DIGITS, line_of, study, write_study

ALL = {
    "drop": {"at_risk": "drop"},
    "elr": {"elr": {"weight": 3.0, "momentum": 0.7}},
    "dp": {"dp": {"noise_multiplier": 1.0, "max_norm": 1.0, "delta": 1e-5}},
    "prune": {"prune": 0.3},
    "narrow": {"set": {"model.width": 4, "training.learning_rate": 0.004}},
}


def written(folder: Path, protections: Any, **more: Any) -> Path:
    return write_study(folder, {**DIGITS, "protections": protections, **more})


def protected(base: dict[str, Any], name: str, **settings: Any) -> Any:
    """A protected variant as its study."""
    mitigation = Mitigation.model_validate(settings)
    (attributes,) = protected_variants(base, Protections(by_name={name: mitigation}))
    return study(attributes)


def test_every_entry_makes_a_variant_that_differs_in_nothing_else(tmp_path: Path) -> None:
    base, *variants = read_variants(written(tmp_path, ALL))
    assert [one.name for one in variants] == ["tiny_drop", "tiny_elr", "tiny_dp", "tiny_prune", "tiny_narrow"]
    assert base.protection is None
    by_name = dict(zip(ALL, variants, strict=True))
    settings = {name: one.protection for name, one in by_name.items() if one.protection is not None}
    for name, one in by_name.items():
        assert (settings[name].base, settings[name].mitigation) == ("tiny", name)
        kept = {"name": base.name, "title": base.title, "protection": None}
        if name != "narrow":
            assert one.model_copy(update=kept) == base
    assert settings["elr"].elr == Elr(weight=3.0, momentum=0.7)
    assert settings["dp"].dp == Dp(noise_multiplier=1.0, max_norm=1.0, delta=1e-5)
    narrow = by_name["narrow"]
    assert narrow.model.kind == "mlp"
    assert (narrow.model.width, narrow.training.learning_rate) == (4, 0.004)
    (found,) = protected_studies([base, *variants])
    assert (found.study, found.variants, found.uses_audit) == (base, by_name, True)
    assert swept_studies([base, *variants]) == []  # a title that says a protection is not read as a sweep


def test_variants_are_found_by_name_and_beside_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_STUDIES", str(tmp_path))
    written(tmp_path / "tiny", {"drop": {"at_risk": "drop"}}, sweep={"over": {"model.width": [4]}})
    assert load_study("tiny_drop").protection.at_risk == "drop"  # type: ignore[union-attr]
    assert list(load_studies(tmp_path)) == ["tiny", "tiny_width4", "tiny_drop"]
    assert load_study("tiny_width4").protection is None


def test_a_protection_makes_stale_just_what_reads_it() -> None:
    base = code_versions(study(DIGITS))
    all_steps = set(base)
    below_logits = all_steps - {"raw_dataset", "samples", "split_masks", "adapters"}
    changed = {
        name: {
            step
            for step, version in code_versions(protected(DIGITS, name, **ALL[name])).items()
            if version != base.get(step)
        }
        for name in ALL
    }
    assert changed["elr"] == changed["dp"] == {"adapters", *below_logits}
    assert changed["drop"] == {"protected", "adapters", *below_logits}
    # Nothing is pruned before the last checkpoint, so the audit is that of the study; its page tells the title.
    assert changed["prune"] == below_logits - {"audit", "at_risk"}


def test_only_a_variant_that_treats_samples_at_risk_reads_the_audit() -> None:
    drop, prune = protected(CITIES, "drop", at_risk="drop"), protected(CITIES, "p", prune=0.5)
    names = list(steps(drop))
    assert names.index("samples") < names.index("protected") < names.index("adapters")
    assert "protected" in steps(drop)["adapters"].upstream
    assert "protected" not in steps(prune)
    graph = build_defs([study(CITIES), drop, prune]).resolve_asset_graph()
    parents = {
        "/".join(key.path) for key in graph.get(next(iter(_keys(graph, "towns_drop/protected")))).parent_keys
    }
    assert parents == {"towns_drop/samples", "towns/audit"}
    assert not _keys(graph, "towns_p/protected")


def _keys(graph: Any, name: str) -> list[Any]:
    return [key for key in graph.get_all_asset_keys() if "/".join(key.path) == name]


@pytest.mark.parametrize(
    ("protections", "at", "message"),
    [
        ({"none": {"prune": 0.3}}, "protections", "none is a row of every comparison; choose another name"),
        ({"Drop": {"at_risk": "drop"}}, "Drop", "string should match pattern"),
        ({"a" * 36: {"prune": 0.3}}, "protections", "41 characters where 40 are allowed"),
        ({"x": {"at_risk": "burn"}}, "at_risk", "input should be 'drop', 'relabel' or 'replace'"),
        ({"x": {"prune": 1.5}}, "prune", "input should be less than 1"),
        ({"x": {"pruned": 0.5}}, "pruned", "extra inputs are not permitted"),
        ({"x": {}}, "x", "changes nothing; give at_risk, elr, dp, prune or set"),
        (
            {"x": {"at_risk": "drop", **ALL["elr"]}},
            "x",
            "at_risk and elr given together; give one of at_risk, elr and dp",
        ),
        ({"x": {"set": {"shadows.models": 8}}}, "x", "set shadows.models: no protection changes it"),
        ({"x": {"set": {"name": "other"}}}, "x", "set name: no protection changes it"),
        (
            {"x": {"set": {"model.wide": 8}}},
            "protections",
            "variant tiny_x: model.wide: unknown field; allowed here",
        ),
        ({"x": {"set": {"title.big": 8}}}, "protections", "x: set title.big: title is no block of the study"),
        ({"x": {"set": {"lora.rank": 2}}}, "protections", "variant tiny_x: "),
        ({}, "protections", "dictionary should have at least 1 item"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, protections: Any, at: str, message: str) -> None:
    path = written(tmp_path, protections)
    with pytest.raises(StudyError) as raised:
        read_variants(path)
    assert str(raised.value).startswith(f"{path}:{line_of(path, f'{at}:')}: protections")
    assert message in str(raised.value)


def test_a_protected_study_whose_base_is_missing_is_refused_among_studies(tmp_path: Path) -> None:
    block = {"base": "missing", "mitigation": "drop", "at_risk": "drop"}
    path = write_study(tmp_path / "own", {**DIGITS, "protection": block})
    assert protected_studies([load_study(path)]) == []
    with pytest.raises(
        StudyError, match=r"protection.base: no study 'missing' here; add its file, or remove"
    ):
        load_studies(tmp_path)


@pytest.mark.parametrize(
    ("base", "name", "message"),
    [
        ({**DIGITS, "model": {"kind": "wide_resnet"}}, "dp", "batch norm of model.kind wide_resnet mixes"),
        ({**CITIES, "training": {**DIGITS["training"], "loss": "text"}}, "elr", "elr regularizes the answer"),
        ({**CITIES, "prompt": {"templates": ["{text}?"], "scoring": "sequence"}}, "elr", "one token each"),
    ],
)
def test_protections_that_do_not_fit_the_study_are_refused(
    base: dict[str, Any], name: str, message: str
) -> None:
    study(base)
    with pytest.raises(ValueError, match=message):
        protected(base, name, **ALL[name])


def test_the_examples_load_and_make_runs_each_study_before_its_variants() -> None:
    root = Path(__file__).parents[1]
    studies = load_studies(root / "examples" / "mitigations")
    asked = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/.ready", "mitigations"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    (command,) = [line for line in asked.stdout.splitlines() if " demo " in line]
    names = command.split(" demo ")[1].split()
    assert sorted(names) == sorted(studies)
    for place, name in enumerate(names):
        protection = studies[name].protection
        assert protection is None or protection.base in names[:place]
    for name, built_in in (("guarded_digits", "digits"), ("guarded_cities", "cities")):
        same = {"name": built_in, "title": load_study(built_in).title}
        assert studies[name].model_copy(update=same) == load_study(built_in)
