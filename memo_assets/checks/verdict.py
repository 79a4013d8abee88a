"""What a check found.

What belongs here: the one form in which every check answers, and words that they share. What does not: any check.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """Answer of a check.

    Attributes:
        passed: whether all is as it should be, or cannot be judged.
        sentence: what was found; where it is wrong also what was expected and what to do.
        facts: numbers and short texts by name, for the web UI.
        seeds: split seeds that are at fault; empty where none is, or where the fault is not of single seeds.
    """

    passed: bool
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


def not_judged(reason: str) -> Verdict:
    """A check that says nothing, and therefore passes: what it would look at is not there."""
    return Verdict(passed=True, sentence=f"not judged: {reason}")


def numbered(numbers: Iterable[int]) -> str:
    """The first few numbers: `3`, `3 and 8`, `0, 1, 2, 3, 4 (17 in all)`.

    Args:
        numbers: such as sample_ids; at least one.
    """
    shown = [str(int(number)) for number in numbers]
    if len(shown) > _SHOWN:
        return f"{', '.join(shown[:_SHOWN])} ({len(shown)} in all)"
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


def seeds_named(seeds: Iterable[int]) -> str:
    """`seed 3`, `seeds 3 and 8`, `seeds 0, 1, 2, 3, 4 (17 in all)`."""
    seeds = list(seeds)
    return f"seed{'' if len(seeds) == 1 else 's'} {numbered(seeds)}"


def span(values: Iterable[float], digits: int = 3) -> str:
    """`.25`, or the smallest and the largest: `.25 to .31`; nothing is rounded away that tells them apart."""
    low, high = min(values := list(values)), max(values)
    least, most = f"{low:.{digits}g}", f"{high:.{digits}g}"
    return least if least == most else f"{least} to {most}"
