"""Settings of a sweep: the values that variants of a study take, and which go together."""

import json
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from memo_assets.config.base import Config

MAX_VARIANTS = 200


class Range(Config):
    """Numbers from one to another, both among them."""

    start: float = Field(alias="from", description="First number.")
    stop: float = Field(alias="to", description="Last number.")
    steps: int = Field(ge=2, le=MAX_VARIANTS, description="How many numbers, both ends among them.")
    scale: Literal["linear", "log"] = Field(
        default="linear", description="Equal differences, or equal ratios between neighbours."
    )

    @model_validator(mode="after")
    def _positive_where_ratios_are_equal(self) -> "Range":
        if self.scale == "log" and (self.start <= 0 or self.stop <= 0):
            raise ValueError(f"scale log needs numbers above 0, given from {self.start:g} to {self.stop:g}")
        return self

    def values(self) -> list[float]:
        """The numbers, rounded to 12 significant digits so that they read well."""
        places = [step / (self.steps - 1) for step in range(self.steps)]
        if self.scale == "log":
            exact = [self.start * (self.stop / self.start) ** place for place in places]
        else:
            exact = [self.start + (self.stop - self.start) * place for place in places]
        return [float(f"{number:.12g}") for number in exact]


# A block is a range and anything else must be a list, so that an error speaks of the one that was meant.
Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[Any], Tag("list")],
    Discriminator(lambda given: "range" if isinstance(given, (dict, Range)) else "list"),
]


class Sweep(Config):
    """Values of fields of a study; every combination is a study of its own."""

    mode: Literal["product", "zip"] = Field(
        default="product",
        description="product: every value with every other; zip: the first values together, the second ones, and so on.",
    )
    over: dict[str, Values] = Field(
        min_length=1, description="Dotted name of a field, such as lora.rank, and its values."
    )

    @model_validator(mode="after")
    def _makes_variants(self) -> "Sweep":
        for field, values in self.values().items():
            if not values:
                raise ValueError(f"over {field}: no values given; list at least one, or leave the field out")
            for value in values:
                try:
                    json.dumps(value)
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        f"over {field}: {str(value)[:40]!r} is read as {type(value).__name__}; expected text, numbers, lists or "
                        "blocks of these: write it in quotes"
                    ) from error
            repeated = [value for place, value in enumerate(values) if value in values[:place]]
            if repeated:
                raise ValueError(f"over {field}: {repeated[0]!r} is given twice; keep one")
        lengths = {field: len(values) for field, values in self.values().items()}
        if self.mode == "zip" and len(set(lengths.values())) > 1:
            raise ValueError(f"mode zip needs as many values of every field, given {lengths}")
        if (count := len(self.combinations())) > MAX_VARIANTS:
            raise ValueError(f"{count} variants given, expected at most {MAX_VARIANTS}; name fewer values")
        return self

    def values(self) -> dict[str, list[Any]]:
        """All values by field."""
        return {
            field: given.values() if isinstance(given, Range) else given for field, given in self.over.items()
        }

    def combinations(self) -> list[dict[str, Any]]:
        """The value of every field, for each variant; the last field varies fastest."""
        values = self.values()
        together = (
            product(*values.values()) if self.mode == "product" else zip(*values.values(), strict=False)
        )
        return [dict(zip(values, combination, strict=True)) for combination in together]
