"""Study files of any content: a valid study, or a `StudyError` that names the file; never anything else."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memo_assets.study_file import COMPONENT_TYPE, StudyError, load_study, read_variants
from memo_assets_tests.studies import CITIES, DIGITS, TABLE, changed, write_study

_BOUNDED = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # each example writes its own file
)
BASES: list[dict[str, Any]] = [
    DIGITS,
    TABLE,
    CITIES,
    changed(TABLE, {"model": {"kind": "gguf", "file": "a.gguf"}}),
    changed(
        TABLE,
        {
            "data": {
                "source": "hub",
                "name": "a/b",
                "splits": ["train"],
                "text": "t",
                "label": "l",
                "options": ["a", "b"],
            }
        },
    ),
    changed(DIGITS, {"sweep": {"over": {"training.learning_rate": [0.1, 0.2]}}}),
    changed(DIGITS, {"compute.slurm.environment": {"A": "b"}}),
]
ODD = st.sampled_from(
    [
        "\0", "a\0b", "../x", "/etc/passwd", "a" * 5000, "\ud800", "\u202e", "😀", "", "{text}", "{{", "2024-01-01", "1e-3",
        "\r\n", None, True, -1, 2**32, 10**400, 1e308, float("inf"), float("nan"), b"\0", [], {}, [[]], [None], ["a", "a"],
        {"a": {}}, {1: 2}, {"": ""}, {"kind": None}, {"source": "x"}, {"from": 1, "to": 2, "steps": 3},
        {"over": {"name": ["a/b"]}}, {"over": {"training.epochs": [b"a", b"b"]}},
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    ["sweep", "compute", "prompt", "nightly", "owners", "labels", "x", "", "\0", "slurm"]
)


def places(node: Any, above: tuple = ()) -> list[tuple]:
    """The paths of all values of a study."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for key, value in pairs for path in ((*above, key), *places(value, (*above, key)))]


@st.composite
def attributes(draw: st.DrawFn) -> dict[str, Any]:
    """A valid study with one or two values changed, taken out or added."""
    made = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(made)))
        block = made
        for key in path[:-1]:
            block = block[key]
        action = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if action == "change":
            block[path[-1]] = copy.deepcopy(draw(VALUES))  # those of ODD are shared
        elif action == "remove":
            del block[path[-1]]
        elif isinstance(block, dict):
            block[draw(FIELDS)] = copy.deepcopy(draw(VALUES))  # those of ODD are shared
        if not places(made):
            break
    return made


def read(folder: Path, content: bytes) -> bool:
    """Whether a file of that content is a study; a study that is read can be stored and read again."""
    path = folder / "defs.yaml"
    path.write_bytes(content)
    try:
        found = read_variants(path)
    except StudyError as error:
        return _names(path, error)
    for study in found:
        stored = study.model_dump_json()
        assert type(study).model_validate_json(stored).model_dump_json() == stored
    return True


def test_the_bases_are_valid(tmp_path: Path) -> None:
    assert [read(tmp_path, _yaml(base)) for base in BASES] == [True] * len(BASES)


@_BOUNDED
@given(made=attributes(), escaped=st.booleans())
@example(made=changed(TABLE, {"data.path": "a\0b.csv"}), escaped=True)
@example(made=changed(DIGITS, {"title": "\ud800"}), escaped=True)
@example(made=changed(TABLE, {"model.name": "a" * 5000}), escaped=True)
@example(made=changed(DIGITS, {"sweep": {"over": {"training.epochs": [b"a"]}}}), escaped=True)
def test_a_mutated_study_is_valid_or_one_error(tmp_path: Path, made: dict[str, Any], escaped: bool) -> None:
    read(tmp_path, _yaml(made, escaped=escaped))


@_BOUNDED
@given(
    base=st.sampled_from(BASES),
    place=st.floats(0, 1),
    length=st.integers(0, 3),
    inserted=st.binary(max_size=4)
    | st.sampled_from(
        [b"<<: *a", b"&a ", b"*a", b"!!set ", b"!!python/name:os.system ", b"? ", b"\n---\n", b"\xff"]
    ),
)
def test_a_garbled_file_is_valid_or_one_error(
    tmp_path: Path, base: dict[str, Any], place: float, length: int, inserted: bytes
) -> None:
    content = _yaml(base)
    at = int(place * len(content))
    read(tmp_path, content[:at] + inserted + content[at + length :])


@_BOUNDED
@given(st.binary(max_size=60))
def test_any_bytes_are_one_error(tmp_path: Path, content: bytes) -> None:
    assert not read(tmp_path, content)


def test_a_python_object_is_not_made(tmp_path: Path) -> None:
    target = tmp_path / "made"
    made = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{target}']]"
    path = write_study(tmp_path, f"type: {COMPONENT_TYPE}\nattributes: {made}\n")
    with pytest.raises(StudyError, match="could not determine a constructor"):
        read_variants(path)
    assert not target.exists()


@pytest.mark.parametrize("name", ["a" * 5000, "../../x", "/etc/passwd", "\0"])
def test_a_name_that_is_no_study_is_one_error(name: str) -> None:
    with pytest.raises(StudyError):
        load_study(name)


def _names(path: Path, error: StudyError) -> bool:
    assert str(path) in str(error)
    return False


def _yaml(made: dict[str, Any], *, escaped: bool = False) -> bytes:
    text = yaml.safe_dump(
        {"type": COMPONENT_TYPE, "attributes": made}, sort_keys=False, allow_unicode=not escaped
    )
    return text.encode("utf-8", "surrogatepass")
