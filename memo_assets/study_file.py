"""Reading study files: YAML in, a `Study` or one clear error out.

What belongs here: finding studies and parsing them. What does not: the words of an error (`study_problems`), Dagster
(the component calls this module, and so does the command line, so that both show the same message).
"""

import copy
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from memo_assets.config import HubRows, Study
from memo_assets.config.protection import Protections
from memo_assets.config.sweep import Sweep
from memo_assets.config.yaml_text import repeated_keys, unquoted_times, unusable_characters
from memo_assets.store.layout import home_dir
from memo_assets.study_problems import find, problem_line
from memo_assets.study_protections import protected_variants
from memo_assets.study_sweep import variants

COMPONENT_TYPE = "memo_assets.study.StudyComponent"
STUDIES_DIR = Path(__file__).parent / "studies"  # built in
STUDIES_VARIABLE = "MEMO_STUDIES"
FILE_NAME = "defs.yaml"
_BLOCKS_OF_VARIANTS = ("sweep", "protections")


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
    # A name that begins with a point is a study that is being written.
    return [path for place in folders for path in sorted(place.glob(f"[!.]*/{FILE_NAME}"))]


def load_study(name_or_path: str | Path) -> Study:
    """Read one study.

    Args:
        name_or_path: name of a built-in study or of a folder below the user's own studies, of a variant of such a
            study, or path of a `defs.yaml` or of the folder that holds it.

    Raises:
        StudyError: no such study, or a file that is not a valid study.
    """
    path = Path(name_or_path)
    try:
        path = path / FILE_NAME if path.is_dir() else path
        found = path.is_file()
    except OSError:  # far too long for a path, and so for a name
        found = False
    if not found:
        known = {file.parent.name: file for file in reversed(study_files())}
        if str(name_or_path) not in known:
            if variant := _variant(str(name_or_path), list(known.values())):
                return variant
            raise StudyError(
                f"no study {str(name_or_path)!r}: expected one of {', '.join(reversed(known))}, or the path of a "
                f"{FILE_NAME}; studies of your own are looked for in {own_studies_dir()}"
            )
        path = known[str(name_or_path)]
    return read_study(path)


def load_studies(folder: Path | None = None) -> dict[str, Study]:
    """Read all studies below a folder with their variants, by name; by default the built-in ones and the user's own.

    Every problem of every file is in the one error.

    Args:
        folder: holds one folder per study.

    Raises:
        StudyError: any file is invalid, two files bear the same study name, or the base of a protected study is missing.
    """
    studies: dict[str, Study] = {}
    problems: list[str] = []
    first_with: dict[str, Path] = {}
    for path in study_files(folder):
        try:
            found = read_variants(path)
        except StudyError as error:
            problems.append(str(error))
            continue
        for study in found:
            if study.name in studies:
                problems.append(
                    f"{path}: name: {study.name!r} is already the name of {first_with[study.name]}; choose another"
                )
                continue
            first_with[study.name] = path
            studies[study.name] = study
    problems += [
        f"{first_with[study.name]}: protection.base: no study {study.protection.base!r} here; add its file, or remove the block"
        for study in studies.values()
        if study.protection is not None and study.protection.base not in studies
    ]
    if problems:
        fine = ", ".join(studies) or "none"
        raise StudyError("\n".join(problems) + f"\n(studies without a problem: {fine})")
    return studies


def read_study(path: Path) -> Study:
    """Parse and check one study file; its sweep and its protections are checked as well.

    Args:
        path: a YAML file with `type` and `attributes`.

    Raises:
        StudyError: with one line per problem.
    """
    return read_variants(path)[0]


def read_variants(path: Path) -> list[Study]:
    """The study of a file, then the variants that its sweep and its protections make of it.

    Args:
        path: a YAML file with `type` and `attributes`.

    Raises:
        StudyError: with one line per problem; a variant that is no valid study is named.
    """
    node, attributes = _attributes(path)
    sweep, protections = (attributes.pop(block, None) for block in _BLOCKS_OF_VARIANTS)
    study = _validated(path, node, attributes)
    made = [study]
    if sweep is not None:
        made += _made_by(path, node, "sweep", lambda: variants(attributes, Sweep.model_validate(sweep)))
    if protections is not None:
        made += _made_by(
            path,
            node,
            "protections",
            lambda: protected_variants(attributes, Protections.model_validate({"by_name": protections})),
        )
    return made


def _made_by(
    path: Path, node: yaml.Node | None, block: str, make: Callable[[], list[dict[str, Any]]]
) -> list[Study]:
    """Variants that a block of the file makes; what is wrong is said of the block."""
    line = find(node, ("attributes", block))[0]
    try:
        made = make()
    except ValidationError as error:
        lines = [
            _variants_problem(path, node, block, dict(problem)) for problem in error.errors(include_url=False)
        ]
        raise StudyError("\n".join(dict.fromkeys(lines))) from error
    except ValueError as error:
        raise StudyError(f"{path}:{line}: {block}: {error}") from error
    try:
        return [_validated(path, node, variant, is_variant=True) for variant in made]
    except StudyError as error:
        raise StudyError(f"{path}:{line}: {block}: {error}") from error


def _variant(name: str, files: list[Path]) -> Study | None:
    """The variant of that name among those of some files."""
    for path in files:
        text = path.read_text(encoding="utf-8", errors="ignore")
        if any(f"{block}:" in text for block in _BLOCKS_OF_VARIANTS):
            for study in read_variants(path)[1:]:
                if study.name == name:
                    return study
    return None


def _validated(
    path: Path, node: yaml.Node | None, attributes: dict[str, Any], *, is_variant: bool = False
) -> Study:
    try:
        study = Study.model_validate(attributes)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors(include_url=False)]
        lines = list(dict.fromkeys(problem_line(path, node, problem) for problem in problems))
        if is_variant:
            said = "; ".join(line.removeprefix(f"{path}:").partition(": ")[2] for line in lines)
            raise StudyError(f"variant {attributes['name']}: {said}") from error
        raise StudyError("\n".join(lines)) from error
    try:
        return _with_absolute_path(study, path)
    except OSError as error:
        raise StudyError(
            f"{path}: {str(error.filename)[-60:]!r} is no usable path: {error.strerror}; correct data.path, data.name, "
            "model.name or model.file"
        ) from error


def _variants_problem(path: Path, node: yaml.Node | None, block: str, problem: dict[str, Any]) -> str:
    # Pydantic names the member of the union there, or the field that holds the whole block; the file has no such key.
    location = [part for part in problem["loc"] if part not in ("range", "list", "by_name", "[key]")]
    line, _ = find(node, ("attributes", block, *location))
    message = problem["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in (block, *location))
    return f"{path}:{line}: {field}: {message[0].lower()}{message[1:]}"


def _attributes(path: Path) -> tuple[yaml.Node | None, dict[str, Any]]:
    """Nodes of a study file, which know their lines, and its attributes as they stand there."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    node, attributes = _parsed(path, text)
    return node, copy.deepcopy(attributes)  # the caller takes blocks out of them


# Loading the code location asks for the same file three times. (PyYAML's loader in C is no way out: a file of nothing
# but brackets ends the process with it.)
@lru_cache(maxsize=64)
def _parsed(path: Path, text: str) -> tuple[yaml.Node | None, dict[str, Any]]:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        misread = [*unusable_characters(node), *repeated_keys(node), *unquoted_times(node)]
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
            f"{path}:{find(node, ('type',))[0]}: type: given {document.get('type')!r}, expected {COMPONENT_TYPE}"
        )
    if unknown := [key for key in document if key not in ("type", "attributes")]:
        raise StudyError(
            f"{path}:{find(node, (unknown[0],))[0]}: {unknown[0]}: unknown field; allowed here: attributes, type "
            "(settings of the study stand below attributes, indented)"
        )
    return node, document["attributes"]


def _with_absolute_path(study: Study, path: Path) -> Study:
    """Resolve the path of a data table against the study file, and of a model directory likewise."""
    data, model = study.data, study.model
    if data.source == "table":
        data = data.model_copy(update={"path": str((path.parent / data.path).resolve())})
    if isinstance(data, HubRows) and (path.parent / data.name).is_dir():
        data = data.model_copy(update={"name": str((path.parent / data.name).resolve())})
    if model.kind == "pretrained" and (path.parent / model.name).is_dir():
        model = model.model_copy(update={"name": str((path.parent / model.name).resolve())})
    if model.kind == "gguf" and model.package is None:
        model = model.model_copy(update={"file": str((path.parent / model.file).resolve())})
    return study.model_copy(update={"data": data, "model": model})
