"""Sweeps: which variants a study file makes, what they are called, and what is refused."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from memo_assets.assets.comparison import figure_key
from memo_assets.definitions import build_defs
from memo_assets.graph import code_versions
from memo_assets.study_file import StudyError, load_studies, load_study, read_variants
from memo_assets.study_sweep import swept_studies, variant_name
from memo_assets_tests.studies import DIGITS, changed, line_of, study, write_study


def swept(folder: Path, **sweep: Any) -> Path:
    return write_study(folder, {**DIGITS, "sweep": sweep})


def test_a_product_makes_every_combination_and_the_study_itself_stays(tmp_path: Path) -> None:
    path = swept(tmp_path, over={"model.width": [8, 16], "noise.share": [0.0, 0.1]})
    studies = read_variants(path)
    assert [study.name for study in studies] == [
        "tiny",
        "tiny_width8_share0",
        "tiny_width8_share0p1",
        "tiny_width16_share0",
        "tiny_width16_share0p1",
    ]
    last = studies[-1]
    assert last.model.kind == "mlp"
    assert (last.model.width, last.noise.share, last.title) == (
        16,
        0.1,
        "Tiny digits (model.width 16, noise.share 0.1)",
    )
    rest = last.model_copy(
        update={name: getattr(studies[0], name) for name in ("name", "title", "noise", "model")}
    )
    assert rest == studies[0]


def test_zip_takes_values_of_the_same_place_and_ranges_make_numbers(tmp_path: Path) -> None:
    rates = {"from": 0.001, "to": 0.1, "steps": 3, "scale": "log"}
    path = swept(tmp_path, mode="zip", over={"training.learning_rate": rates, "data_seed": [4, 5, 6]})
    found = [(study.training.learning_rate, study.data_seed) for study in read_variants(path)[1:]]
    assert found == [(0.001, 4), (0.01, 5), (0.1, 6)]
    path = swept(tmp_path, over={"training.weight_decay": {"from": 0, "to": 0.3, "steps": 4}})
    assert [study.training.weight_decay for study in read_variants(path)[1:]] == [0, 0.1, 0.2, 0.3]


def test_names_say_the_values_and_stay_when_values_are_added() -> None:
    assert variant_name("a", {"training.learning_rate": 5e-05}) == "a_learning_rate5em05"
    assert variant_name("a" * 20, {"training.learning_rate": 1e-3, "x.weight_decay": 0.5}) == (
        "a" * 20 + "_lr0p001_wd0p5"
    )
    assert variant_name("a", {"training.schedule": "linear"}) == "a_schedulelinear"
    assert variant_name("a", {"lora.targets": ["q", "v"]}) != variant_name("a", {"lora.targets": ["q"]})
    with pytest.raises(ValueError, match="44 characters where 40 are allowed; give the study a shorter name"):
        variant_name("a" * 38, {"model.width": 1024})


def test_variants_are_studies_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = swept(tmp_path / "mine", over={"model.width": [8, 16]})
    monkeypatch.setenv("MEMO_STUDIES", str(tmp_path))
    base, _, wide = read_variants(path)
    assert load_study("tiny_width16") == wide
    assert {"tiny", "tiny_width8", "tiny_width16"} <= set(load_studies())
    assert code_versions(wide)["samples"] == code_versions(base)["samples"]
    assert code_versions(wide)["adapters"] != code_versions(base)["adapters"]
    keys = build_defs().resolve_asset_graph().get_all_asset_keys()
    assert {dg.AssetKey([name, "adapters"]) for name in ("tiny", "tiny_width8", "tiny_width16")} <= keys


def test_variants_are_found_again_among_studies(tmp_path: Path) -> None:
    given = {
        "training.checkpoints": {"first_epoch": 2, "every": 1},
        "sweep": {"mode": "zip", "over": {"training.epochs": [2, 4], "noise.share": [0, 0.2]}},
    }
    base, short, long = read_variants(write_study(tmp_path, changed(DIGITS, given)))
    others = [
        study(DIGITS, {"name": "tiny_other", "data_seed": 1}),
        study(DIGITS, {"name": "tiny_seed1", "title": "Tiny digits (another seed)", "data_seed": 1}),
        study(DIGITS, {"name": "large", "title": "Tiny digits (data_seed 1)", "data_seed": 1}),
    ]
    (found,) = swept_studies([base, short, long, *others])
    assert found.studies == (base, short, long)
    assert long.training.checkpoints != short.training.checkpoints  # by the rule, hence no swept field
    assert found.fields == {
        "training.epochs": {"tiny": 2, short.name: 2, long.name: 4},
        "noise.share": {"tiny": 0.0, short.name: 0.0, long.name: 0.2},
    }


def test_a_field_of_one_value_is_not_swept_and_values_may_be_lists(tmp_path: Path) -> None:
    over = {"model.width": [8], "shadows.audited": [[0], [1, 2]], "labels.eta": [None, 2.5]}
    (found,) = swept_studies(read_variants(swept(tmp_path, over=over)))
    assert list(found.fields) == ["shadows.audited", "labels.eta"]
    assert list(found.fields["shadows.audited"].values()) == [[0], [0], [0], [1, 2], [1, 2]]
    assert swept_studies(read_variants(swept(tmp_path, over={"model.width": [8]}))) == []


def test_the_figure_over_swept_values_has_a_version_of_the_values(tmp_path: Path) -> None:
    def version(**own: int) -> str | None:
        studies = read_variants(
            write_study(tmp_path, {**DIGITS, "compute": own, "sweep": {"over": {"compute.pack": [4, 8]}}})
        )
        return build_defs(studies).resolve_asset_graph().get(figure_key("figure_sweeps")).code_version

    assert version(pack=2, workers=1) == version(pack=2, workers=2)
    assert version(pack=2) != version(pack=3)  # it changes no result, only where the study itself stands


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no fields": ({"over": {}}, "over", "sweep.over: dictionary should have at least 1 item"),
    "no values": ({"over": {"data_seed": []}}, "sweep", "sweep: over data_seed: no values given"),
    "a value twice": ({"over": {"data_seed": [1, 1]}}, "sweep", "sweep: over data_seed: 1 is given twice"),
    "unequal lengths": (
        {"mode": "zip", "over": {"data_seed": [1], "model.width": [8, 9]}},
        "sweep",
        "sweep: mode zip needs as many values of every field, given {'data_seed': 1, 'model.width': 2}",
    ),
    "too many": (
        {"over": {"data_seed": list(range(20)), "model.width": list(range(1, 12))}},
        "sweep",
        "sweep: 220 variants given, expected at most 200",
    ),
    "log through zero": (
        {"over": {"noise.share": {"from": 0, "to": 0.1, "steps": 3, "scale": "log"}}},
        "noise.share",
        "sweep.over.noise.share: scale log needs numbers above 0, given from 0 to 0.1",
    ),
    "an unknown field": (
        {"over": {"model.wide": [1]}},
        "sweep",
        "sweep: variant tiny_wide1: model.wide: unknown field; allowed here: kind, layers, width",
    ),
    "a bad value": (
        {"over": {"training.batch_size": [8, 0]}},
        "sweep",
        "sweep: variant tiny_batch_size0: training.batch_size: given 0",
    ),
    "no block": ({"over": {"title.x": [1]}}, "sweep", "sweep: over title.x: title is no block of the study"),
    "the name": ({"over": {"name": ["a"]}}, "sweep", "sweep: over name: no sweep varies it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_sweep_is_named_with_file_and_line(tmp_path: Path, case: str) -> None:
    sweep, line, message = REFUSED[case]
    path = write_study(tmp_path, changed(DIGITS, {"sweep": sweep}))
    with pytest.raises(StudyError) as caught:
        read_variants(path)
    assert f"{path}:{line_of(path, line)}: {message}" in str(caught.value)
