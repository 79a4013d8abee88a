"""What is wrong with a study file, in one line a problem: file, line, field, what was given, what is allowed.

What belongs here: from an error of pydantic and the nodes of the file to that line. What does not: reading the file
(`study_file`).
"""

import re
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from memo_assets.config import Study

_PLAIN_TYPES = ("str", "int", "bool")  # as pydantic calls them


def problem_line(path: Path, node: yaml.Node | None, problem: dict[str, Any]) -> str:
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
    line, found = find(node, ("attributes", *location))
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


def find(node: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[int, yaml.Node | None]:
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
