"""What every block of settings shares."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Config(BaseModel):
    """A frozen block of settings that refuses fields it does not know and values of another type."""

    # Fields that came when studies had been run already. At its default such a field changes no result and is left out
    # of what tells one recipe from another (`settings`), so that finished work stays fresh and begun work goes on.
    added_later: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def settings(self) -> dict[str, object]:
        """All settings as JSON values, without those of `added_later` that are at their default."""
        settings = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.added_later and value == field.get_default(call_default_factory=True):
                del settings[name]
            elif isinstance(value, Config):
                settings[name] = value.settings()
        return settings


# Stands in the place of a study for what is made of several studies.
COMPARISON = "comparison"
