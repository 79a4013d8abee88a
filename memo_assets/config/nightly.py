"""When a study is brought up to date by itself: changes no result, so it makes nothing stale."""

import re
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from memo_assets.config.base import Config

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LAST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Field(NamedTuple):
    """A field of cron: its name, its smallest and largest number, words for the numbers from the smallest on."""

    name: str
    smallest: int
    largest: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)
_PIECE = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")


class Nightly(Config):
    """A study that is brought up to date by itself, as long as the daemon runs (`memo ui`)."""

    cron: str = Field(
        default="0 2 * * *",
        description="When GPU-bound assets are redone, in the five fields of cron; by default at two every night.",
    )
    timezone: str = Field(default="UTC", description="Where it is that time, such as Europe/Paris.")
    max_seeds_per_night: int | None = Field(
        default=None,
        ge=1,
        description="Split seeds whose GPU-bound assets are redone in one night; by default all that need it.",
    )

    @field_validator("cron")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        parts = text.split()
        if len(parts) != len(_FIELDS):
            names = ", ".join(field.name for field in _FIELDS)
            raise ValueError(f"given {text!r}; expected five fields ({names}), such as 0 2 * * *")
        values = [_values(text, part, field) for part, field in zip(parts, _FIELDS, strict=True)]
        days, months = values[2], values[3]
        if not any(min(days) <= _LAST_DAYS[month - 1] for month in months):
            raise ValueError(f"given {text!r}; none of these months has such a day")
        return text

    @field_validator("timezone")
    @classmethod
    def _is_a_place(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"given {name!r}, which is no time zone; expected a name such as UTC or Europe/Paris"
            ) from error
        return name


def _values(text: str, part: str, field: _Field) -> set[int]:
    """Numbers that one field of a cron line stands for."""
    number_of = {word: number for number, word in enumerate(field.words, start=field.smallest)}
    found: set[int] = set()
    for piece in part.split(","):
        first, last, step = field.smallest, field.largest, 1
        match = _PIECE.fullmatch(piece)
        if match is not None and match["first"] is not None:
            first, last = (
                int(end) if end.isdecimal() else number_of.get(end.lower(), -1)
                for end in (match["first"], match["last"] or match["first"])
            )
        if match is not None and match["step"] is not None:
            step = 0 if first == last else int(match["step"])  # every second of one number means nothing
        if match is None or not step or not field.smallest <= first <= last <= field.largest:
            among = f", {field.words[0]} to {field.words[-1]}" if field.words else ""
            raise ValueError(
                f"given {text!r}; the {field.name} is {piece!r}, expected *, numbers from {field.smallest} to "
                f"{field.largest}{among}, ranges such as 1-5, steps such as */2, or several separated by commas"
            )
        found |= set(range(first, last + 1, step))
    return found
