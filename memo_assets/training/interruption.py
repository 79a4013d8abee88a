"""Ending a computation early on request, with what is needed to go on later.

What belongs here: the question whether to stop, and the exception by which a computation says where it stood. What
does not: signals and time limits (the worker's), the files that are kept. No torch.
"""

from collections.abc import Callable

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """A computation ended early because it was asked to; the same call goes on where it stood.

    Attributes:
        done: units done in all.
        total: units there are.
        unit: what is counted: steps, checkpoints.
        began: units that were done already when this attempt started.
        kept: whether what this attempt did is there for the next one; if not, the next one starts anew.
    """

    def __init__(self, done: int, total: int, unit: str, *, began: int = 0, kept: bool = True) -> None:
        end = "" if kept else ", which starts anew the next time"
        super().__init__(f"interrupted at {unit.removesuffix('s')} {done} of {total}{end}")
        self.done = done
        self.total = total
        self.unit = unit
        self.began = began
        self.kept = kept

    @property
    def progressed(self) -> bool:
        """Whether this attempt brought the work further: if not, trying again as long may never end."""
        return self.kept and self.done > self.began
