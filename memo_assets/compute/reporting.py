"""What a step tells: how far it is, lines of the item's log, and what it hands back in the end.

What does not belong here: where it goes (`worker`). A line never holds a text of the data.
"""

from collections.abc import Callable

from memo_assets.compute.items import SeedResult

OnProgress = Callable[[int, int, str], None]
Results = dict[int, SeedResult]


def say(text: str) -> None:
    """Write a line to the log at once, so that it stands there if the worker is killed right after."""
    print(text, flush=True)  # noqa: T201
