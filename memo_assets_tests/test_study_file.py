"""Study files: what is refused, and that the message says where, what was given and what is allowed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
import yaml

from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.study import StudyComponent
from memo_assets.study_check import check_study
from memo_assets.study_file import (
    COMPONENT_TYPE,
    StudyError,
    load_studies,
    load_study,
    own_studies_dir,
    read_study,
    read_variants,
    study_files,
)
from memo_assets_tests.data.pictures import colours, save_pictures, settings
from memo_assets_tests.studies import CITIES, DIGITS, REMOVED, TABLE, changed, line_of, write_study

TRAINING_FIELDS = (
    "accumulation, augmentation, batch_size, checkpoints, epochs, learning_rate, loss, max_grad_norm, max_length, "
    "momentum, optimizer, schedule, trigger, warmup_steps, weight_decay"
)
HEAD = f"type: {COMPONENT_TYPE}\nattributes:\n"


def refusal(path: Path) -> str:
    with pytest.raises(StudyError) as caught:
        read_study(path)
    return str(caught.value)


# base, changes, start of the line that the message must name, what follows `file:line: `
BAD_FIELDS: dict[str, tuple[dict, dict[str, Any], str, str]] = {
    "name that is taken": (
        DIGITS,
        {"name": "comparison"},
        "name:",
        "name: comparison is the place of the figures over all studies; choose another name",
    ),
    "unknown field": (
        DIGITS,
        {"training.lr": 1},
        "lr:",
        f"training.lr: unknown field; allowed here: {TRAINING_FIELDS}",
    ),
    "unknown block": (
        DIGITS,
        {"datas": {}},
        "datas:",
        "datas: unknown field; allowed here: canaries, compute, data, data_seed, description, labels, lora, model, name, "
        "nightly, noise, owners, prompt, protection, scores, shadows, show_text, title, training",
    ),
    "field of another source": (
        DIGITS,
        {"data.countries": ["BR", "CN"]},
        "countries:",
        "data.countries: unknown field; allowed here: items, source",
    ),
    "field of another model": (
        DIGITS,
        {"model.revision": "main"},
        "revision:",
        "model.revision: unknown field; allowed here: kind, layers, width",
    ),
    "field of an optional block": (
        TABLE,
        {"lora.r": 4},
        "r:",
        "lora.r: unknown field; allowed here: alpha, dropout, rank, targets",
    ),
    "text for a number": (
        DIGITS,
        {"training.epochs": "two"},
        "epochs:",
        "training.epochs: given 'two'; input should be a valid integer",
    ),
    "yes for a number": (
        DIGITS,
        {"training.batch_size": True},
        "batch_size:",
        "training.batch_size: given True; input should be a valid integer",
    ),
    "number in a list": (
        DIGITS,
        {"training.checkpoints": [0, "one", 2]},
        "- one",
        "training.checkpoints.1: given 'one'; input should be a valid number",
    ),
    "number for a list": (
        DIGITS,
        {"training.checkpoints": 2},
        "checkpoints:",
        "training.checkpoints: given 2; input should be a valid list",
    ),
    "block for text": (
        DIGITS,
        {"title": {"de": "Ziffern"}},
        "title:",
        "title: given a block; input should be a valid string",
    ),
    "text for a block": (
        DIGITS,
        {"training": "fast"},
        "training:",
        f"training: given 'fast'; expected a block with fields among {TRAINING_FIELDS}",
    ),
    "nothing for a block": (
        DIGITS,
        {"shadows": None},
        "shadows:",
        "shadows: given nothing; expected a block with fields among audited, block, membership, models, train_share",
    ),
    "wrong literal": (
        DIGITS,
        {"training.schedule": "step"},
        "schedule:",
        "training.schedule: given 'step'; input should be 'constant', 'linear' or 'cosine'",
    ),
    "unknown data set": (
        DIGITS,
        {"data.source": "mnist"},
        "source:",
        "data.source: given 'mnist'; allowed: cities, digits, hub, images, table",
    ),
    "no data set": (
        DIGITS,
        {"data.source": REMOVED},
        "data:",
        "data.source: is missing; allowed: cities, digits, hub, images, table",
    ),
    "unknown model": (
        DIGITS,
        {"model.kind": "resnet"},
        "kind:",
        "model.kind: given 'resnet'; allowed: gguf, mlp, pretrained, tiny_llama, wide_resnet",
    ),
    "depth without whole blocks": (
        DIGITS,
        {"model": {"kind": "wide_resnet", "depth": 18}},
        "model:",
        "model: depth = 18 is not 4 more than a multiple of 6; the nearest are 16 and 22",
    ),
    "text for a network that reads images": (
        DIGITS,
        {"model": {"kind": "wide_resnet"}, "data": CITIES["data"]},
        "attributes:",
        "study: model.kind wide_resnet reads images; data.source cities holds text",
    ),
    "momentum of AdamW": (
        DIGITS,
        {"training.momentum": 0.9},
        "training:",
        "training: momentum = 0.9, but optimizer adamw has its own: use optimizer: sgd, or remove it",
    ),
    "augmentation that changes nothing": (
        DIGITS,
        {"training.augmentation": {"flip": False}},
        "augmentation:",
        "training.augmentation: neither flips nor shifts: set flip: true or shift, or remove the block",
    ),
    "unknown augmentation": (
        DIGITS,
        {"training.augmentation": {"rotate": 90}},
        "rotate:",
        "training.augmentation.rotate: unknown field; allowed here: flip, shift",
    ),
    "augmentation of text": (
        CITIES,
        {"training.augmentation": {"flip": True}},
        "attributes:",
        "study: training.augmentation changes images; a language study has none: remove it",
    ),
    "a gradient norm of 0": (
        DIGITS,
        {"training.max_grad_norm": 0},
        "max_grad_norm:",
        "training.max_grad_norm: given 0; input should be greater than 0",
    ),
    "missing block": (DIGITS, {"training": REMOVED}, "attributes:", "training: is missing"),
    "missing field": (DIGITS, {"shadows": {"audited": [0]}}, "shadows:", "shadows.models: is missing"),
    "prop 0": (
        DIGITS,
        {"shadows.train_share": 0},
        "train_share:",
        "shadows.train_share: given 0; input should be greater than 0",
    ),
    "prop 1": (
        DIGITS,
        {"shadows.train_share": 1},
        "train_share:",
        "shadows.train_share: given 1; input should be less than 1",
    ),
    "prop above 1": (
        DIGITS,
        {"shadows.train_share": 1.5},
        "train_share:",
        "shadows.train_share: given 1.5; input should be less than 1",
    ),
    "negative seed": (
        DIGITS,
        {"data_seed": -1},
        "data_seed:",
        "data_seed: given -1; input should be greater than or equal to 0",
    ),
    "seed beyond 32 bits": (
        DIGITS,
        {"data_seed": 2**32},
        "data_seed:",
        "data_seed: given 4294967296; input should be less than 4294967296",
    ),
    "negative split seed": (
        DIGITS,
        {"shadows.audited": [-3]},
        "- -3",
        "shadows.audited.0: given -3; input should be greater than or equal to 0",
    ),
    "audited seed without a model": (
        DIGITS,
        {"shadows.audited": [0, 4]},
        "shadows:",
        "shadows: audited split seeds [4] are not below models = 4",
    ),
    "audited twice": (
        DIGITS,
        {"shadows.audited": [1, 1]},
        "shadows:",
        "shadows: audited = [1, 1] names a split seed twice",
    ),
    "too few models": (
        DIGITS,
        {"shadows.models": 3},
        "models:",
        "shadows.models: given 3; input should be greater than or equal to 4",
    ),
    "checkpoints out of order": (
        DIGITS,
        {"training.checkpoints": [0, 2, 1]},
        "training:",
        "training: checkpoints [0.0, 2.0, 1.0] must rise from 0 to epochs = 2 without repetition",
    ),
    "trigger and the fall of the loss at checkpoints": (
        DIGITS,
        {"training.trigger": {}, "scores.loss_drop": 0.9},
        "attributes:",
        "study: training.trigger says when to predict, and scores.loss_drop counts for nothing beside it: remove "
        "scores.loss_drop, or set training.trigger.drop",
    ),
    "trigger without a window": (
        DIGITS,
        {"training.trigger": {"window": 0}},
        "window:",
        "training.trigger.window: given 0; input should be greater than or equal to 1",
    ),
    "checkpoints beyond the end": (
        DIGITS,
        {"training.checkpoints": [0, 3]},
        "training:",
        "training: checkpoints [0.0, 3.0] must rise from 0 to epochs = 2 without repetition",
    ),
    "nan": (
        DIGITS,
        {"training.learning_rate": float("nan")},
        "learning_rate:",
        "training.learning_rate: given nan; input should be a finite number",
    ),
    "infinity": (
        DIGITS,
        {"training.max_grad_norm": float("inf")},
        "max_grad_norm:",
        "training.max_grad_norm: given inf; input should be a finite number",
    ),
    "noise above 1": (
        DIGITS,
        {"noise.share": 1.2},
        "share:",
        "noise.share: given 1.2; input should be less than or equal to 1",
    ),
    "name": (
        DIGITS,
        {"name": "Tiny-1"},
        "name:",
        "name: given 'Tiny-1'; string should match pattern '^[a-z][a-z0-9_]{0,39}$'",
    ),
    "prompt without text": (
        TABLE,
        {"prompt.templates": ["Which one?"]},
        "prompt:",
        "prompt: template 'Which one?' lacks {text}, the place of the sample's text",
    ),
    "prompt with the answer": (
        TABLE,
        {"prompt.templates": ["{text} {label}"]},
        "prompt:",
        "prompt: template '{text} {label}' has a brace beside {text} and {options}",
    ),
    "prompt with a space": (
        TABLE,
        {"prompt.templates": ["{text}? "]},
        "prompt:",
        "prompt: template '{text}? ' ends in white space; the answer brings its own",
    ),
    "language study without a prompt": (
        TABLE,
        {"prompt": REMOVED},
        "attributes:",
        "study: a language study needs the block `prompt`",
    ),
    "vision study with adapters": (
        DIGITS,
        {"lora": {"rank": 1, "alpha": 1.0}},
        "attributes:",
        "study: a vision study has no use for the block `lora`: remove it",
    ),
    "pairs of five models": (
        DIGITS,
        {"shadows.membership": "paired", "shadows.models": 5},
        "shadows:",
        "shadows: membership paired shares the pool out between two models each: 5 models with train_share = 0.5 given, "
        "expected an even number with train_share 0.5",
    ),
    "pairs that take two fifths": (
        DIGITS,
        {"shadows.membership": "paired", "shadows.train_share": 0.4},
        "shadows:",
        "shadows: membership paired shares the pool out between two models each: 4 models with train_share = 0.4 given, "
        "expected an even number with train_share 0.5",
    ),
    "canaries of sentences": (
        TABLE,
        {"canaries": {"kind": "ood", "count": 3}},
        "attributes:",
        "study: a language study has no use for the block `canaries`: remove it",
    ),
    "queries of sentences": (
        TABLE,
        {"labels.queries": {"shift": 1}},
        "attributes:",
        "study: labels.queries shifts images; a language study has none: remove it",
    ),
    "images for a language model": (
        TABLE,
        {"data": {"source": "digits"}},
        "attributes:",
        "study: data.source digits holds images; model.kind pretrained reads text: use mlp or wide_resnet",
    ),
    "pictures for a language model": (
        TABLE,
        {"data": {"source": "images", "name": "a/b", "splits": ["train"], "image": "i", "label": "l"}},
        "attributes:",
        "study: data.source images holds images; model.kind pretrained reads text: use mlp or wide_resnet",
    ),
    "a test split that is trained on": (
        DIGITS,
        {
            "data": {
                "source": "images",
                "name": "a/b",
                "splits": ["train"],
                "image": "i",
                "label": "l",
                "test_splits": ["train[:100]"],
            }
        },
        "data:",
        "data: split 'train' is named twice in splits and test_splits: no image may be two samples",
    ),
    "17 options": (
        TABLE,
        {"data.options": [f"option {number}" for number in range(17)]},
        "options:",
        "data.options: List should have at most 16 items, not 17",
    ),
    "17 countries": (
        CITIES,
        {"data.countries": [f"A{letter}" for letter in "ABCDEFGHIJKLMNOPQ"]},
        "countries:",
        "data.countries: List should have at most 16 items, not 17",
    ),
    "sentence without the label": (
        CITIES,
        {"model.sentences": ["{text} is a town."]},
        "model:",
        "model: sentence '{text} is a town.' must hold both {text} and {label}",
    ),
    "heads that do not divide": (
        CITIES,
        {"model.heads": 3},
        "model:",
        "model: hidden = 64 is not a multiple of 2 x heads = 6 (rotary positions)",
    ),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_a_bad_field_is_named_with_file_line_given_and_allowed(tmp_path: Path, case: str) -> None:
    base, changes, line, message = BAD_FIELDS[case]
    path = write_study(tmp_path, changed(base, changes))
    assert refusal(path) == f"{path}:{line_of(path, line)}: {message}"


# text of the file, message after the path
BAD_TEXTS: dict[str, tuple[str, str]] = {
    "empty": ("", f": expected `type: {COMPONENT_TYPE}` and a block `attributes:`"),
    "a list": ("- 1\n- 2\n", f": expected `type: {COMPONENT_TYPE}` and a block `attributes:`"),
    "no attributes": (HEAD, f": expected `type: {COMPONENT_TYPE}` and a block `attributes:`"),
    "another type": (
        "attributes:\n  name: a\ntype: my.Component\n",
        f":3: type: given 'my.Component', expected {COMPONENT_TYPE}",
    ),
    "a block that is not indented": (
        f"{HEAD}  name: a\nshadows:\n  models: 4\n",
        ":4: shadows: unknown field; allowed here: attributes, type (settings of the study stand below "
        "attributes, indented)",
    ),
    "a key twice": (
        f"{HEAD}  name: a\n  title: A\n  name: b\n",
        ":5: name: given twice, in lines 3 and 5; keep one",
    ),
    "nested keys twice": (
        f"{HEAD}  training:\n    epochs: 1\n    epochs: 2\n    epochs: 3\n  name: a\n",
        ":5: training.epochs: given twice, in lines 4 and 5; keep one\n"
        "{path}:6: training.epochs: given twice, in lines 5 and 6; keep one",
    ),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_file_is_named(tmp_path: Path, case: str) -> None:
    text, message = BAD_TEXTS[case]
    path = write_study(tmp_path, text)
    assert refusal(path) == f"{path}{message.replace('{path}', str(path))}"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (f"{HEAD}  name: [a\n  title: b\n", ":4: not valid YAML: "),
        (f"{HEAD}  name:\n\t- a\n", ":4: not valid YAML: "),
        (f"{HEAD}  name: a\n---\n{HEAD}  name: b\n", ":4: not valid YAML: expected a single document"),
        (f"{HEAD}  name: !!python/object:os.system ls\n", ":3: not valid YAML: could not determine"),
        (f"{HEAD}  title: 2024-02-30\n", ": not valid YAML: day is out of range"),
        ("[" * 5000, ": not valid YAML: "),
        ("a: &a [*a]\n", ": "),
    ],
)
def test_what_is_no_yaml_is_one_line_with_the_file(tmp_path: Path, text: str, start: str) -> None:
    path = write_study(tmp_path, text)
    found = refusal(path)
    assert found.startswith(f"{path}{start}")
    assert "\n" not in found


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "defs.yaml"
    path.write_bytes(b"title: Stra\xdfe\n")
    assert refusal(path).startswith(
        f"{path}: cannot be read as UTF-8 text: 'utf-8' codec can't decode byte 0xdf"
    )


@pytest.mark.parametrize(
    ("field", "written", "message"),
    [
        (
            "title: Tiny digits",
            "title: no",
            "title: given False; input should be a valid string; write it in quotes",
        ),
        ("title: Tiny digits", "title: 2024-02-03", "write it in quotes"),
        (
            "learning_rate: 0.01",
            "learning_rate: 1e-3",
            "given '1e-3'; input should be a valid number; YAML takes it for",
        ),
    ],
)
def test_what_yaml_reads_otherwise_than_it_looks_gets_a_hint(
    tmp_path: Path, field: str, written: str, message: str
) -> None:
    path = write_study(tmp_path, DIGITS)
    path.write_text(path.read_text(encoding="utf-8").replace(field, written), encoding="utf-8")
    assert message in refusal(path)


def test_all_problems_of_a_file_come_at_once_one_a_line(tmp_path: Path) -> None:
    path = write_study(tmp_path, changed(DIGITS, {"data_seed": -1, "training.epochs": "x", "colour": "red"}))
    lines = refusal(path).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}:") for line in lines)


def test_problems_of_all_files_come_at_once_and_healthy_studies_are_named(tmp_path: Path) -> None:
    bad = write_study(tmp_path / "a", changed(DIGITS, {"data_seed": -1}))
    write_study(tmp_path / "b", changed(DIGITS, {"name": "fine"}))
    worse = write_study(tmp_path / "c", "a: [")
    with pytest.raises(StudyError) as caught:
        load_studies(tmp_path)
    first, second, last = str(caught.value).splitlines()
    assert first.startswith(f"{bad}:{line_of(bad, 'data_seed')}: data_seed: given -1")
    assert second.startswith(f"{worse}:1: not valid YAML")
    assert last == "(studies without a problem: fine)"


def test_one_name_in_two_files_names_both(tmp_path: Path) -> None:
    first = write_study(tmp_path / "a", DIGITS)
    second = write_study(tmp_path / "b", DIGITS)
    write_study(tmp_path / "c", changed(DIGITS, {"name": "other"}))
    with pytest.raises(StudyError) as caught:
        load_studies(tmp_path)
    assert str(caught.value) == (
        f"{second}: name: 'tiny' is already the name of {first}; choose another\n"
        "(studies without a problem: tiny, other)"
    )


def test_the_component_shows_the_same_message_as_the_checker(tmp_path: Path) -> None:
    path = write_study(tmp_path / "bad", changed(DIGITS, {"training.lr": 1}))
    expected = refusal(path)
    context = cast("dg.ComponentLoadContext", SimpleNamespace(path=path.parent))
    with pytest.raises(StudyError) as component:
        StudyComponent.load(None, context)
    with pytest.raises(StudyError) as checker:
        check_study(path)
    with pytest.raises(StudyError) as location:
        load_studies(tmp_path)
    assert str(component.value) == str(checker.value) == expected
    assert str(location.value) == f"{expected}\n(studies without a problem: none)"


def test_studies_are_found_by_name_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(tmp_path / "mine", DIGITS)
    monkeypatch.chdir(tmp_path)
    assert load_study(path) == load_study(path.parent) == load_study("mine")
    (tmp_path / "digits").mkdir()  # a folder of that name without a study does not hide the built-in one
    assert load_study("digits").name == "digits"
    with pytest.raises(
        StudyError, match=r"no study 'mnist': expected one of .*cities.*digits.*, or the path of a"
    ):
        load_study("mnist")


def test_built_in_studies_are_valid_and_named_like_their_folder() -> None:
    studies = load_studies()
    assert {"cities", "digits"} <= set(studies)
    of_files = [read_variants(path) for path in study_files()]
    assert [path.parent.name for path in study_files()] == [made[0].name for made in of_files]
    assert list(studies.values()) == [study for made in of_files for study in made]


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "mine" / "weights").mkdir(parents=True)
    attributes = changed(TABLE, {"data.path": "../rows.csv", "model.name": "weights"})
    study = read_study(write_study(tmp_path / "mine", attributes))
    assert study.data.source == "table"
    assert study.data.path == str(tmp_path / "rows.csv")
    assert study.model.kind == "pretrained"
    assert study.model.name == str(tmp_path / "mine" / "weights")
    hub = read_study(write_study(tmp_path / "mine", TABLE))
    assert hub.model.kind == "pretrained"
    assert hub.model.name == "some/model"


def test_a_directory_of_pictures_is_relative_to_the_study_file_and_checked(tmp_path: Path) -> None:
    save_pictures(tmp_path / "mine" / "saved", {"train": colours(60, 0), "test": colours(12, 1)})
    data = settings(Path("saved"), test_splits=["test"])
    path = write_study(tmp_path / "mine", changed(DIGITS, {"data": data}))
    study = read_study(path)
    assert study.data.source == "images"
    assert study.data.name == str(tmp_path / "mine" / "saved")
    facts = check_study(path)
    assert facts["samples"] == "72 (60 pool, 12 test)"
    assert facts["models"] == "4, each trained on 30 samples"
    elsewhere = changed(DIGITS, {"data": {**data, "name": "lab/pictures"}})
    elsewhere = read_study(write_study(tmp_path / "mine", elsewhere))
    assert elsewhere.data.source == "images"
    assert elsewhere.data.name == "lab/pictures"


def rows(n: int = 30) -> list[str]:
    return [f"text {row},{'ab'[row % 2]},id{row}" for row in range(n)]


def csv(lines: list[str], head: str = "text,label,id") -> bytes:
    return "\n".join([head, *lines, ""]).encode()


# content of rows.csv, changes, what the message holds
BAD_DATA: dict[str, tuple[bytes | None, dict[str, Any], str]] = {
    "no file": (None, {}, "no file {folder}/rows.csv"),
    "empty file": (b"", {}, "is empty: expected a header line and rows"),
    "header only": (csv([]), {}, "there are no rows: give at least 20"),
    "pool smaller than the split": (csv(rows(8)), {}, "8 rows are too few to split"),
    "missing column": (
        csv(rows(), "text,country,id"),
        {},
        "has no column 'label': its columns are 'text', 'country'",
    ),
    "one class": (
        csv([row.replace(",b,", ",a,") for row in rows()]),
        {},
        "all labels are 'a'; a study needs at least two",
    ),
    "duplicate ids": (csv([*rows(), "more,a,id3"]), {"data.id": "id"}, "these occur more than once: 'id3'"),
    "empty text": (csv([*rows(), " ,a,x"]), {}, "row 30 from 0 (id '30'), with an empty text"),
    "empty label": (
        csv([*rows(), "more,,x"]),
        {"data.options": ["a", "b"]},
        "row 30 from 0 (id '30'), with an empty label",
    ),
    "label not among the options": (csv(rows()), {"data.options": ["a", "c"]}, "'b' is none of ['a', 'c']"),
    "more than 16 labels": (
        csv(rows()),
        {"data.label": "id"},
        "30 options (id0, id1, id10, ...), more than 16",
    ),
    "ragged": (csv([*rows(), "a,b,c,d"]), {}, "cannot be read as csv"),
    "not UTF-8": (csv(rows()) + b"caf\xe9,a,x\n", {}, "cannot be read as csv"),
    "share that trains on nothing": (
        csv(rows()),
        {"shadows.train_share": 0.01},
        "shadows.train_share = 0.01 of a pool of 27 samples leaves none to train on; raise it",
    ),
    "one label but for a single training sample": (
        csv([*[f"text {row},a,x" for row in range(30)], "odd,b,x"]),
        {},
        "(samples by label), and scoring it takes two labels and two samples of each",
    ),
    "checkpoint between two steps": (
        csv(rows()),
        {"training.checkpoints": [0, 0.3, 2]},
        "checkpoint 0.3 is 0.6 steps with 2 steps per epoch (13 samples, 8 per step), expected a whole number; the "
        "nearest allowed epoch is 0.5",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_clear_error_that_names_the_study(tmp_path: Path, case: str) -> None:
    content, changes, message = BAD_DATA[case]
    if content is not None:
        (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(StudyError) as caught:
        check_study(write_study(tmp_path, changed(TABLE, changes)))
    found = str(caught.value)
    assert found.startswith("study own: ")
    assert message.replace("{folder}", str(tmp_path)) in found
    assert "\n" not in found


def test_a_label_of_one_training_sample_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(csv([*rows(), *[f"rare {row},c,x" for row in range(2)]]))
    facts = check_study(write_study(tmp_path, changed(TABLE, {"shadows.audited": [2, 3]})))
    assert facts["without PSMI"] == "labels of one training sample, by split seed: {2: ['c']}"


def test_a_label_that_is_no_string_is_refused(tmp_path: Path) -> None:
    lines = [f'{{"text": "text {row}", "label": {row % 2}}}' for row in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    attributes = changed(TABLE, {"data.path": "rows.jsonl", "data.options": ["0", "1"]})
    with pytest.raises(StudyError, match=r"^study own: .*whose label is 0 \(int\), no string"):
        check_study(write_study(tmp_path, attributes))


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (
            DIGITS,
            {"data.items": 1798},
            "study tiny: data.items = 1798, but scikit-learn's digits hold 1797 images",
        ),
        (
            CITIES,
            {"data.countries": ["BR", "XX"]},
            r"study towns: data.countries = \['BR', 'XX'\] holds \['XX'\]",
        ),
        (CITIES, {"data.items": 21}, "study towns: data.items = 21 cannot be shared equally by 2 countries"),
        (CITIES, {"data.items": 20_000}, "study towns: country BR .* needs 10000 of each"),
    ],
)
def test_bad_settings_of_a_data_set_name_the_study(
    tmp_path: Path, base: dict, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        check_study(write_study(tmp_path, changed(base, changes)))


def test_the_facts_of_a_good_study(tmp_path: Path) -> None:
    # 90 images: 10 for testing, 80 in the pool; half of it, 40 images, in batches of 8 for 2 epochs.
    assert check_study(write_study(tmp_path, changed(DIGITS, {"noise.share": 1.0}))) == {
        "study": "tiny",
        "samples": "90 (80 pool, 10 test)",
        "noisy labels": 80,
        "models": "4, each trained on 40 samples",
        "steps": "10 (5 per epoch), 3 checkpoints",
    }


def test_a_trigger_is_among_the_facts_and_must_be_within_reach(tmp_path: Path) -> None:
    # 40 training samples for 2 epochs: 80 losses in all, so of 79 there can be a first and a second median.
    reachable = changed(DIGITS, {"training.trigger": {"window": 79}})
    assert check_study(write_study(tmp_path / "a", reachable))["steps"] == (
        "10 (5 per epoch), 3 checkpoints and one where a model meets its trigger"
    )
    with pytest.raises(
        StudyError,
        match=r"^study tiny: training.trigger.window = 80, but a model sees 80 training losses in all \(40 in 2 epochs\)",
    ):
        check_study(write_study(tmp_path / "b", changed(DIGITS, {"training.trigger": {"window": 80}})))


def test_a_study_with_a_trigger_reads_back_with_all_its_defaults_written(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, changed(DIGITS, {"training.trigger": {}})))
    assert study.training.trigger is not None
    assert (study.training.trigger.window, study.training.trigger.drop) == (500, 0.95)
    assert Study.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training.augmentation": {"shift": 8}},
            "training.augmentation.shift takes images with sides of more than 8",
        ),
        (
            {"labels.queries": {"shift": 9}},
            "labels.queries.shift takes images with sides of more than 9 pixels; these",
        ),
        ({"shadows.membership": "paired", "data.items": 88}, "halves the pool: 79 samples"),
        (
            {"canaries": {"kind": "clean", "count": 90}},
            "canaries.count = 90, but only 80 samples of the pool",
        ),
    ],
)
def test_what_the_images_do_not_allow_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        check_study(write_study(tmp_path, changed(DIGITS, changes)))


def test_images_too_small_for_a_wide_resnet_are_named(tmp_path: Path) -> None:
    save_pictures(tmp_path / "saved", {"train": colours(60, 0), "test": colours(12, 1)})
    data = settings(Path("saved"), test_splits=["test"])
    path = write_study(tmp_path, changed(DIGITS, {"data": data, "model": {"kind": "wide_resnet"}}))
    with pytest.raises(
        StudyError, match=r"wide_resnet, which halves .* more than 4 pixels; these have 4 x 5"
    ):
        check_study(path)


def test_canaries_are_counted(tmp_path: Path) -> None:
    facts = check_study(write_study(tmp_path, changed(DIGITS, {"canaries": {"kind": "ood", "count": 7}})))
    assert facts["canaries"] == 7


def test_checking_writes_nothing(tmp_path: Path, warehouse: Path) -> None:
    check_study(write_study(tmp_path / "mine", DIGITS))
    assert list(warehouse.iterdir()) == []
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["defs.yaml"]


def test_yaml_of_a_study_reads_back(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, CITIES))
    again = read_study(write_study(tmp_path, yaml.safe_load(yaml.safe_dump(study.model_dump(mode="json")))))
    assert again == study


def test_studies_of_the_users_own_stand_beside_the_built_in_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_STUDIES", str(tmp_path / "mine"))
    built_in = study_files()
    assert load_studies() == {
        study.name: study for path in built_in for study in read_variants(path)
    }  # the folder is not there yet
    path = write_study(tmp_path / "mine" / "tiny", DIGITS)
    assert study_files() == [*built_in, path]
    assert load_study("tiny") == read_study(path) == load_studies()["tiny"]
    keys = {key.path[0] for key in build_defs().resolve_all_asset_keys()}
    assert {"tiny", "digits", "cities"} <= keys

    write_study(tmp_path / "mine" / "again", changed(DIGITS, {"name": "digits"}))
    with pytest.raises(
        StudyError, match=r"'digits' is already the name of .*studies/digits/defs.yaml; choose"
    ):
        load_studies()
    with pytest.raises(StudyError, match=rf"expected one of .*digits.*tiny.*looked for in {tmp_path}/mine"):
        load_study("nothing")


def test_own_studies_lie_beside_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMO_STUDIES")
    assert own_studies_dir() == Path(__file__).parents[1] / "studies"
    monkeypatch.setenv("MEMO_STUDIES", __file__)
    with pytest.raises(StudyError, match="is a file; name the directory"):
        own_studies_dir()
