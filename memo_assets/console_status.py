"""What `memo status` shows: a line per study, a table per study of what is not fresh and why, and the same as JSON.

What belongs here: counts and causes of states as tables and records. What does not: finding the states out (`status`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memo_assets.config import Study
from memo_assets.graph import FIGURES
from memo_assets.status import (
    MISSING,
    NEVER,
    STATES,
    AssetState,
    Cause,
    PartitionState,
    partitions_in_words,
)

_COLOURS = {"fresh": "green", "stale": "yellow", "missing": "dim", "failed": "red"}
_LINES, _NAMES = 6, 4

Looked = tuple[Study, Sequence[AssetState]]
"""A study and the states of its assets, its source first."""


@dataclass(frozen=True)
class Group:
    """Partitions of one asset with the same state for the same causes.

    Attributes:
        state: stale, missing or failed.
        cause: in words, over all its partitions.
        partitions: their keys; empty for an asset without partitions.
    """

    state: str
    cause: str
    partitions: tuple[str, ...]


def groups(state: AssetState) -> list[Group]:
    """What of an asset is not fresh, partitions with the same words together, in the order of the first of each.

    Args:
        state: of the asset.
    """
    alike: dict[tuple[str, tuple[str, ...]], list[PartitionState]] = {}
    for part in state.todo:
        alike.setdefault((part.state, tuple(cause.words for cause in part.causes)), []).append(part)
    found = []
    for (name, words), parts in alike.items():
        others = [
            tuple(chain.from_iterable(part.causes[place].partitions for part in parts))
            for place in range(len(words))
        ]
        causes = [Cause(said, of) for said, of in zip(words, others, strict=True)]
        keys = tuple(part.partition for part in parts if part.partition is not None)
        found.append(Group(name, "; ".join(map(str, causes)), keys))
    return found


def show_status(console: Console, looked: Sequence[Looked], *, all_assets: bool) -> None:
    """Print a line per study, if there are several, then what there is to say of each.

    Args:
        console: where to print.
        looked: the studies.
        all_assets: whether to show fresh assets too, and studies that are all fresh or were never run.
    """
    if len(looked) > 1:
        console.print(summary_table(looked))
    for study, states in looked:
        if all_assets or (_begun(states) and any(state.todo for state in states[1:])):
            console.print(study_table(study, states, all_assets=all_assets))


def summary_table(looked: Iterable[Looked]) -> Table:
    """One line per study: how many partitions of all its assets are in each state, and what to look at.

    Args:
        looked: the studies.
    """
    table = _table("Studies", "Study", "In short")
    for study, states in looked:
        table.add_row(escape(study.name), *_cells(_counts(states)), escape(_in_short(states)))
    return table


def study_table(study: Study, states: Sequence[AssetState], *, all_assets: bool) -> Table:
    """Fresh, stale, missing and failed partitions of the assets of a study, and why; figures alike are one line.

    Args:
        study: the study.
        states: of its assets.
        all_assets: whether to show fresh assets too.
    """
    rows: dict[str | tuple[Group, ...], list[AssetState]] = {}
    for state in states:
        if all_assets or state.todo:
            row = tuple(groups(state)) if state.name in FIGURES else state.name
            rows.setdefault(row, []).append(state)
    table = _table(f"{escape(study.title)} ({study.name})", "Asset", "Why")
    for alike in rows.values():
        name = alike[0].name if len(alike) == 1 else f"{len(alike)} figures"
        table.add_row(name, *_cells(_counts(alike)), escape("\n".join(_why(alike[0]))))
    return table


def as_records(looked: Iterable[Looked]) -> list[dict[str, Any]]:
    """The same as JSON values: per study and asset the counts, and what is not fresh with its cause.

    Args:
        looked: the studies.
    """
    return [{"study": study.name, "assets": [_record(state) for state in states]} for study, states in looked]


def _record(state: AssetState) -> dict[str, Any]:
    not_fresh = [
        {"state": group.state, "cause": group.cause, "partitions": list(group.partitions)}
        for group in groups(state)
    ]
    return {"asset": state.name, **{name: state.counts[name] for name in STATES}, "not_fresh": not_fresh}


def _why(state: AssetState) -> list[str]:
    """One line per group; the partitions are named unless the group has all of them."""
    found = groups(state)
    lines = [
        group.cause
        if len(group.partitions) in (0, len(state.partitions))
        else f"{partitions_in_words(group.partitions)}: {group.cause}"
        for group in found[:_LINES]
    ]
    return [*lines, f"and {len(found) - _LINES} more causes"] if len(found) > _LINES else lines


def _in_short(states: Sequence[AssetState]) -> str:
    source, *steps = states
    if not _begun(states):
        return "never run" + ("; its data are not on this machine" if source.todo else "")
    todo = [state.name for state in steps if state.todo]
    if not todo:
        return "all fresh" + (", but its source cannot be seen" if source.todo else "")
    names = [name for name in todo if name not in FIGURES]
    if figures := len(todo) - len(names):
        names.append("1 figure" if figures == 1 else f"{figures} figures")
    left = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (
        f" and {left} more assets" if left > 1 else "".join(f", {name}" for name in names[_NAMES:])
    )


def _begun(states: Sequence[AssetState]) -> bool:
    """Whether any asset was ever made, or tried to be."""
    _, *steps = states
    return any(part.state != MISSING or part.cause != NEVER for state in steps for part in state.partitions)


def _counts(states: Iterable[AssetState]) -> Counter[str]:
    return sum((state.counts for state in states), Counter())


def _table(title: str, first: str, last: str) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for state in STATES:
        table.add_column(state.capitalize(), justify="right", style=_COLOURS[state])
    table.add_column(last)
    return table


def _cells(counts: Counter[str]) -> list[str]:
    return [str(counts[state] or "") for state in STATES]
