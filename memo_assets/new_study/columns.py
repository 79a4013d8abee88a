"""Which columns of a table look like text, label and id.

What belongs here: the guess. What does not: asking (`cli_study`), and whether the values make sense (`data.items`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memo_assets.config import MAX_OPTIONS

_LABEL_NAMES = ("label", "class", "category", "target", "answer")
_LONGEST_ID = 64


@dataclass(frozen=True)
class Proposal:
    """Names of columns; None where nothing looks like it."""

    text: str | None
    label: str | None
    id: str | None


def propose(columns: Mapping[str, Sequence[object]]) -> Proposal:
    """Guess which columns hold text, label and id.

    The text is the longest column of strings with more values than a label may have; the label a column of strings
    with few values (one whose name says so, else the one with the fewest); the id a column of short strings or whole
    numbers that are all different (one whose name says so, else the first).

    Args:
        columns: values by name, in the order of the file.
    """
    strings = {name: [str(value) for value in values] for name, values in columns.items() if _filled(values)}
    distinct = {name: len(set(values)) for name, values in strings.items()}
    texts = [name for name in strings if distinct[name] > MAX_OPTIONS and _is_text(columns[name])]
    text = max(texts, key=lambda name: sum(map(len, strings[name])), default=None)
    labels = [
        name
        for name in strings
        if 2 <= distinct[name] <= MAX_OPTIONS
        and distinct[name] <= len(strings[name]) / 2
        and _is_text(columns[name])
    ]
    label = min(labels, key=lambda name: (name.lower() not in _LABEL_NAMES, distinct[name]), default=None)
    ids = [
        name
        for name, values in strings.items()
        if name != text and distinct[name] == len(values) and max(map(len, values)) <= _LONGEST_ID
    ]
    return Proposal(text, label, min(ids, key=lambda name: not name.lower().endswith("id"), default=None))


def _filled(values: Sequence[object]) -> bool:
    """Whether all values are strings that are not blank, or whole numbers."""
    return bool(values) and all(
        value.strip() if isinstance(value, str) else isinstance(value, int) for value in values
    )


def _is_text(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
