"""When a study is brought up to date by itself: changes no result, so it makes nothing stale."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from memo_assets.config.base import Config

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_UNKNOWN_TO_DAGSTER = re.compile(r"\bLW\b|\dL\b", re.IGNORECASE)


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
        expected = f"expected five fields of cron ({', '.join(_FIELDS)}), such as 0 2 * * *"
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"given {text!r}; {expected}")
        if unknown := _UNKNOWN_TO_DAGSTER.search(text):
            raise ValueError(f"given {text!r}; {unknown[0]} is not known here; {expected}")
        try:
            # Dagster refuses a day that none of the months has whatever the day of the week: hence also without that.
            for line in (text, " ".join([*fields[:-1], "*"])):
                CronSim(line, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError(f"given {text!r}; {str(error).lower()}; {expected}") from error
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
