"""Reading study files: YAML in, a `Study` or one clear error out.

What belongs here: finding studies, parsing them, and error messages that name file, line and field.
What does not: Dagster (the component calls this module, and so does the command line, so that both show the
same message).
"""

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from memo_assets.config import Study
from memo_assets.config.yaml_text import repeated_keys, unquoted_times
from memo_assets.store.layout import home_dir

COMPONENT_TYPE = "memo_assets.study.StudyComponent"
STUDIES_DIR = Path(__file__).parent / "studies"  # built in
STUDIES_VARIABLE = "MEMO_STUDIES"
FILE_NAME = "defs.yaml"
_PLAIN_TYPES = ("str", "int", "bool")  # as pydantic calls them


class StudyError(ValueError):
    """A study file that cannot be used; the message names file, line, field, given and expected."""


def own_studies_dir() -> Path:
    """Folder of the user's own studies: MEMO_STUDIES, else `studies/` beside the project's workspace.yaml or here.

    Raises:
        StudyError: MEMO_STUDIES names a file. A folder that is not there yet is fine: it holds no study.
    """
    given = os.environ.get(STUDIES_VARIABLE)
    if not given:
        return home_dir() / "studies"
    path = Path(given).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise StudyError(
            f"{STUDIES_VARIABLE}={given} is a file; name the directory that holds one folder per study"
        )
    return path


def study_files(folder: Path | None = None) -> list[Path]:
    """All study files below a folder, by name; by default the built-in ones, then the user's own.

    Args:
        folder: holds one folder per study, each with a `defs.yaml`.

    Raises:
        StudyError: MEMO_STUDIES names a file.
    """
    folders = dict.fromkeys((STUDIES_DIR, own_studies_dir()) if folder is None else (folder,))
    return [path for place in folders for path in sorted(place.glob(f"*/{FILE_NAME}"))]


def load_study(name_or_path: str | Path) -> Study:
    """Read one study.

    Args:
        name_or_path: name of a built-in study or of a folder below the user's own studies, or path of a `defs.yaml`
            or of the folder that holds it.

    Raises:
        StudyError: no such study, or a file that is not a valid study.
    """
    path = Path(name_or_path)
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        known = {file.parent.name: file for file in reversed(study_files())}
        if str(name_or_path) not in known:
            raise StudyError(
                f"no study {str(name_or_path)!r}: expected one of {', '.join(reversed(known))}, or the path of a "
                f"{FILE_NAME}; studies of your own are looked for in {own_studies_dir()}"
            )
        path = known[str(name_or_path)]
    return read_study(path)


def load_studies(folder: Path | None = None) -> dict[Path, Study]:
    """Read all studies below a folder, by default the built-in ones and the user's own.

    Every problem of every file is in the one error.

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
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        misread = [*repeated_keys(node), *unquoted_times(node)]
        document = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2024-02-30
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        raise StudyError(f"{path}{at}: not valid YAML: {' '.join(str(error).split())}") from error
    if misread:
        raise StudyError("\n".join(f"{path}:{problem}" for problem in misread))
    if not isinstance(document, dict) or not isinstance(document.get("attributes"), dict):
        raise StudyError(f"{path}: expected `type: {COMPONENT_TYPE}` and a block `attributes:`")
    if document.get("type") != COMPONENT_TYPE:
        raise StudyError(
            f"{path}:{_find(node, ('type',))[0]}: type: given {document.get('type')!r}, expected {COMPONENT_TYPE}"
        )
    if unknown := [key for key in document if key not in ("type", "attributes")]:
        raise StudyError(
            f"{path}:{_find(node, (unknown[0],))[0]}: {unknown[0]}: unknown field; allowed here: attributes, type "
            "(settings of the study stand below attributes, indented)"
        )
    try:
        study = Study.model_validate(document["attributes"])
    except ValidationError as error:
        lines = [_problem(path, node, dict(problem)) for problem in error.errors(include_url=False)]
        raise StudyError("\n".join(dict.fromkeys(lines))) from error
    return _with_absolute_path(study, path)


def _with_absolute_path(study: Study, path: Path) -> Study:
    """Resolve the path of a data table against the study file, and of a model directory likewise."""
    data, model = study.data, study.model
    if data.source == "table":
        data = data.model_copy(update={"path": str((path.parent / data.path).resolve())})
    if model.kind == "pretrained" and (path.parent / model.name).is_dir():
        model = model.model_copy(update={"name": str((path.parent / model.name).resolve())})
    if model.kind == "gguf" and model.package is None:
        model = model.model_copy(update={"file": str((path.parent / model.file).resolve())})
    return study.model_copy(update={"data": data, "model": model})


def _problem(path: Path, node: yaml.Node | None, problem: dict[str, Any]) -> str:
    """One line for one pydantic error: file, line, field, what was given, what is allowed."""
    tagged, kind, given = problem["loc"], problem["type"], problem.get("input")
    is_key = tagged[-1:] == ("[key]",)  # pydantic says so of a name in a block that has no fixed fields
    union = _union_at(tagged[:-1]) if tagged and tagged[-1] in _PLAIN_TYPES else []
    if is_key or union:
        tagged = tagged[:-1]
    location = list(tagged)
    if len(tagged) > 1 and tagged[0] in _tag_fields():
        del location[1]  # pydantic names the chosen member of a union there, where the file has no such key
    if kind.startswith("union_tag"):
        location.append(_tag_fields()[tagged[0]])
    field = ".".join(str(part) for part in location) or "study"
    line, found = _find(node, ("attributes", *location))
    message = problem["msg"].removeprefix("Value error, ").replace(" after validation", "")
    if kind == "extra_forbidden" or (is_key and kind == "literal_error"):
        message = f"unknown field; allowed here: {', '.join(_fields_at(tagged[:-1]))}"
    elif kind.startswith("union_tag"):
        allowed = ", ".join(_place(tagged)["discriminator"]["mapping"])
        message = f"given {given[location[-1]]!r}" if kind == "union_tag_invalid" and given else "is missing"
        message += f"; allowed: {allowed}"
    elif kind == "missing":
        message = "is missing"
    elif kind.startswith("model_") or kind == "dict_type":
        fields = _fields_at(tagged)
        among = f" with fields among {', '.join(fields)}" if fields else ""
        message = f"given {_shown(given)}; expected a block{among}"
    elif union:
        message = f"given {_shown(given)}; input should be a valid {', '.join(union[:-1])} or {union[-1]}"
        message += _hint("string_type", given, found)
    elif kind not in ("value_error", "too_short", "too_long"):
        hint = _hint(kind, given, None if is_key else found)
        message = f"given {_shown(given)}; {message[:1].lower()}{message[1:]}{hint}"
    return f"{path}:{line}: {field}: {message}"


def _shown(given: object) -> str:
    if isinstance(given, (dict, list)):
        return "a block" if isinstance(given, dict) else "a list"
    return "nothing" if given is None else repr(given)


def _hint(kind: str, given: object, found: yaml.Node | None) -> str:
    """What to do where YAML reads something else than what one sees."""
    if kind == "string_type" and isinstance(given, (bool, int, float, date)):
        return "; write it in quotes" + (f": '{found.value}'" if isinstance(found, yaml.ScalarNode) else "")
    if kind == "float_type" and isinstance(given, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", given):
        return "; YAML takes it for text: write it like 1.0e-3, with a point and a sign, without quotes"
    return ""


def _tag_fields() -> dict[str, str]:
    """The blocks that have several forms, each with the field that tells which."""
    return {
        name: field.discriminator
        for name, field in Study.model_fields.items()
        if isinstance(field.discriminator, str)
    }


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields allowed at a place of the study, for error messages; empty where all are."""
    place = _place(location)
    if "discriminator" in place:
        return [place["discriminator"]["propertyName"]]
    return sorted(place.get("properties", place.get("propertyNames", {}).get("enum", [])))


def _union_at(location: tuple[int | str, ...]) -> list[str]:
    """Types of a value that may be of several plain ones, of which pydantic names each in an error of its own."""
    types = [option.get("type") for option in _place(location).get("anyOf", [])]
    return types if len(types) > 1 and "null" not in types else []


def _place(location: tuple[int | str, ...]) -> dict[str, Any]:
    """JSON schema of a block of the study, or of a value; a location as in pydantic's errors."""
    schema = place = Study.model_json_schema()
    for part in location:
        if "discriminator" in place:
            found = {"$ref": place["discriminator"]["mapping"][part]}
        elif part in place.get("properties", {}):
            found = place["properties"][part]
        else:  # a block whose fields bear any name, or an optional one
            options = [place, *place.get("anyOf", [])]
            found = next(
                option["additionalProperties"] for option in options if "additionalProperties" in option
            )
        references = [option["$ref"] for option in (found, *found.get("anyOf", [])) if "$ref" in option]
        place = schema["$defs"][references[0].rsplit("/", 1)[1]] if references else found
    return place


def _find(node: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[int, yaml.Node | None]:
    """Line of the deepest part of a location that the file holds, and what stands there if it holds all of it."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if str(key.value) == str(part)]
            if not found:
                return line, None
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = line if node is None else node.start_mark.line + 1
        else:
            return line, None
    return line, node
