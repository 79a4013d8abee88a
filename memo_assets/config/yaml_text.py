"""What YAML reads otherwise than a person who wrote it: found in the parsed text before it becomes settings.

Each function yields one line for one finding, `line: field: what to do`; the caller puts the file's name before it.
"""

import re
from collections.abc import Iterator

import yaml


def repeated_keys(node: yaml.Node | None, above: str = "") -> Iterator[str]:
    """One line for every key that a block holds twice: YAML itself would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line, field = key.start_mark.line + 1, f"{above}{key.value}"
            if field in lines:
                yield f"{line}: {field.removeprefix('attributes.')}: given twice, in lines {lines[field]} and {line}; keep one"
            lines[field] = line
            yield from repeated_keys(value, f"{field}.")
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from repeated_keys(value, above)


def unquoted_times(node: yaml.Node | None, above: str = "") -> Iterator[str]:
    """One line for every 20:00:00 without quotes: YAML reads it as a number, which not every field would refuse."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from unquoted_times(value, f"{above}.{key.value}")
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from unquoted_times(value, f"{above}.{number}")
    elif isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float")) and ":" in node.value:
        line, field = node.start_mark.line + 1, above.removeprefix(".attributes").removeprefix(".")
        yield f"{line}: {field}: YAML reads {node.value} as a number; write it in quotes: '{node.value}'"


def unusable_characters(node: yaml.Node | None) -> Iterator[str]:
    """One line for every text with a character that no file name and no file can hold: NUL, or half of a pair."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from unusable_characters(key)
            yield from unusable_characters(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from unusable_characters(value)
    elif isinstance(node, yaml.ScalarNode) and (found := re.search("[\0\ud800-\udfff]", node.value)):
        line, code = node.start_mark.line + 1, f"U+{ord(found[0]):04X}"
        yield f"{line}: {node.value[:60]!a} holds the character {code}, which is no text; remove it"
