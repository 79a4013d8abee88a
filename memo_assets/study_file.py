"""Reading study files: YAML in, a `Study` or one clear error out.

What belongs here: finding studies, parsing them, and error messages that name file, line and field.
What does not: Dagster (the component calls this module, and so does the command line, so that both show the
same message).
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from memo_assets.config import Study

COMPONENT_TYPE = "memo_assets.study.StudyComponent"
STUDIES_DIR = Path(__file__).parent / "studies"
FILE_NAME = "defs.yaml"


class StudyError(ValueError):
    """A study file that cannot be used; the message names file, line, field, given and expected."""


def study_files(folder: Path = STUDIES_DIR) -> list[Path]:
    """All study files below a folder, by name.

    Args:
        folder: holds one folder per study, each with a `defs.yaml`.
    """
    return sorted(folder.glob(f"*/{FILE_NAME}"))


def load_study(name_or_path: str | Path) -> Study:
    """Read one study.

    Args:
        name_or_path: name of a built-in study, or path of a `defs.yaml` or of the folder that holds it.

    Raises:
        StudyError: no such study, or a file that is not a valid study.
    """
    path = Path(name_or_path)
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        built_in = STUDIES_DIR / str(name_or_path) / FILE_NAME
        if not built_in.is_file():
            known = ", ".join(file.parent.name for file in study_files())
            raise StudyError(
                f"no study {str(name_or_path)!r}: expected one of {known}, or the path of a {FILE_NAME}"
            )
        path = built_in
    return read_study(path)


def load_studies(folder: Path = STUDIES_DIR) -> dict[Path, Study]:
    """Read all studies below a folder; every problem of every file is in the one error.

    Args:
        folder: holds one folder per study.

    Raises:
        StudyError: any file is invalid, or two files bear the same study name.
    """
    studies: dict[Path, Study] = {}
    problems: list[str] = []
    first_with: dict[str, Path] = {}
    for path in study_files(folder):
        try:
            study = read_study(path)
        except StudyError as error:
            problems.append(str(error))
            continue
        if study.name in first_with:
            problems.append(
                f"{path}: name: {study.name!r} is already the name of {first_with[study.name]}; choose another"
            )
            continue
        first_with[study.name] = path
        studies[path] = study
    if problems:
        fine = ", ".join(study.name for study in studies.values()) or "none"
        raise StudyError("\n".join(problems) + f"\n(studies without a problem: {fine})")
    return studies


def read_study(path: Path) -> Study:
    """Parse and check one study file.

    Args:
        path: a YAML file with `type` and `attributes`.

    Raises:
        StudyError: with one line per problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    try:
        document = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("attributes"), dict):
        raise StudyError(f"{path}: expected `type: {COMPONENT_TYPE}` and a block `attributes:`")
    if document.get("type") != COMPONENT_TYPE:
        raise StudyError(
            f"{path}:{_line(node, ('type',))}: type: given {document.get('type')!r}, expected {COMPONENT_TYPE}"
        )
    try:
        study = Study.model_validate(document["attributes"])
    except ValidationError as error:
        lines = [_problem(path, node, dict(problem)) for problem in error.errors(include_url=False)]
        raise StudyError("\n".join(lines)) from error
    return _with_absolute_path(study, path)


def _with_absolute_path(study: Study, path: Path) -> Study:
    """Resolve the path of a data table against the study file, and of a model directory likewise."""
    data, model = study.data, study.model
    if data.source == "table":
        data = data.model_copy(update={"path": str((path.parent / data.path).resolve())})
    if model.kind == "pretrained" and (path.parent / model.name).is_dir():
        model = model.model_copy(update={"name": str((path.parent / model.name).resolve())})
    return study.model_copy(update={"data": data, "model": model})


def _problem(path: Path, node: yaml.Node | None, problem: dict[str, Any]) -> str:
    """One line for one pydantic error: file, line, field, what was given, what is allowed."""
    location = [part for part in problem["loc"] if not _is_union_tag(problem["loc"], part)]
    field = ".".join(str(part) for part in location) or "study"
    message = problem["msg"].removeprefix("Value error, ")
    kind, given = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        message = f"unknown field; allowed here: {', '.join(_fields_at(location[:-1]))}"
    elif kind == "union_tag_invalid":
        context = problem["ctx"]
        field = f"{field}.{context['discriminator'].strip(chr(39))}"
        message = f"given {context['tag']!r}; allowed: {context['expected_tags'].replace(chr(39), '')}"
    elif kind == "missing":
        message = "is missing"
    elif kind != "value_error" and not isinstance(given, (dict, list)):
        message = f"given {given!r}; {message[:1].lower()}{message[1:]}"
    return f"{path}:{_line(node, ('attributes', *location))}: {field}: {message}"


def _is_union_tag(location: tuple[int | str, ...], part: int | str) -> bool:
    """Pydantic names the chosen member of a union in the location, where the file has no such key."""
    tags = {"data": ("cities", "digits", "table"), "model": ("tiny_llama", "pretrained", "mlp")}
    return len(location) > 1 and location[1] == part and part in tags.get(str(location[0]), ())


def _fields_at(location: list[int | str]) -> list[str]:
    """Names of the fields allowed at a place of the study, for error messages."""
    schema = Study.model_json_schema()
    here = [schema]
    for part in location:
        here = [
            found
            for place in here
            for target in _resolve(schema, place)
            for found in _resolve(schema, target.get("properties", {}).get(str(part), {}))
        ]
    return sorted({name for place in here for name in place.get("properties", {})})


def _resolve(schema: dict, place: dict) -> list[dict]:
    if "$ref" in place:
        return [schema["$defs"][place["$ref"].rsplit("/", 1)[1]]]
    if "oneOf" in place or "anyOf" in place:
        return [
            found for option in place.get("oneOf") or place["anyOf"] for found in _resolve(schema, option)
        ]
    return [place]


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """Line of the deepest part of a location that the file holds."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = line if node is None else node.start_mark.line + 1
        else:
            break
    return line
