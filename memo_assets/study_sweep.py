"""Variants of one study: from its attributes and its sweep to the attributes of each variant, and back.

What belongs here: names and titles of variants, putting values in their places, and finding variants again among
studies. What does not: which values (`config.sweep`), checking a variant (`study_file`).
"""

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memo_assets.config import Study
from memo_assets.config.sweep import Sweep

MAX_NAME = 40  # of a study, see `config.base.NAME_PATTERN`
_ABSENT = object()


@dataclass(frozen=True)
class SweptStudy:
    """A study and the variants that its sweep made.

    Attributes:
        study: the study itself.
        variants: in the order of the sweep.
        fields: by name of a field, then by name of a study: the value of each of these studies as JSON, None where a study has no
            such field. Only fields that take more than one value.
    """

    study: Study
    variants: tuple[Study, ...]
    fields: dict[str, dict[str, Any]]

    @property
    def studies(self) -> tuple[Study, ...]:
        """The study itself, then its variants."""
        return (self.study, *self.variants)


def swept_studies(studies: Sequence[Study]) -> list[SweptStudy]:
    """The studies that have variants among these, with the values by which they differ.

    A variant is known by its name and title, and its title says which fields were swept. A comparison of all settings
    would say more: checkpoints made by a rule, for one, change with the number of epochs.

    Args:
        studies: of study files, variants after their study.
    """
    found = []
    for study in studies:
        fields = {other.name: said for other in studies if (said := _fields_said(study, other))}
        variants = tuple(other for other in studies if other.name in fields)
        settings = {one.name: one.model_dump(mode="json") for one in (study, *variants)}
        values = {
            field: {
                name: None if (value := _get(given, field)) is _ABSENT else value
                for name, given in settings.items()
            }
            for field in dict.fromkeys(field for said in fields.values() for field in said)
        }
        varied = {
            field: by_name
            for field, by_name in values.items()
            if any(value != by_name[study.name] for value in by_name.values())
        }
        if varied:
            found.append(SweptStudy(study, variants, varied))
    return found


def variants(attributes: dict[str, Any], sweep: Sweep) -> list[dict[str, Any]]:
    """Attributes of every variant, in the order of the sweep.

    A variant differs from the study in the fields of the sweep, in its name (see `variant_name`) and in its title, which
    says the values.

    Args:
        attributes: of the study itself, without the sweep.
        sweep: fields and values.

    Raises:
        ValueError: a field whose block is not in the study, a field that no sweep may vary, or a name that is too long
            or stands for two variants.
    """
    made: list[dict[str, Any]] = []
    seen: dict[str, dict[str, Any]] = {}
    for combination in sweep.combinations():
        name = variant_name(str(attributes.get("name")), combination)
        if name in seen:
            raise ValueError(f"{name} would be the name of two variants, {seen[name]} and {combination}")
        seen[name] = combination
        variant = copy.deepcopy(attributes)
        for field, value in combination.items():
            put(variant, field, value)
        values = ", ".join(f"{field} {value_text(value)}" for field, value in combination.items())
        made.append({**variant, "name": name, "title": f"{attributes.get('title')} ({values})"})
    return made


def variant_name(name: str, combination: dict[str, Any]) -> str:
    """Name of a variant: that of the study, then each field with its value, such as `cities_rank8_share0p033`.

    It depends on nothing but the variant's own values, so that further values rename no variant. Fields go by their last
    name; where that is too long, by the first letters of its words.

    Args:
        name: of the study.
        combination: value by field.

    Raises:
        ValueError: even so it has more than 40 characters.
    """
    long, short = name, name
    for field, value in combination.items():
        last = field.rpartition(".")[2]
        long += f"_{last}{_slug(value)}"
        short += f"_{''.join(word[0] for word in last.split('_'))}{_slug(value)}"
    chosen = long if len(long) <= MAX_NAME else short
    if len(chosen) > MAX_NAME:
        raise ValueError(
            f"the variant {combination} would be called {chosen}, {len(chosen)} characters where {MAX_NAME} are "
            "allowed; give the study a shorter name"
        )
    return chosen


def value_text(value: Any) -> str:
    """A value as it stands in the title of a variant."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fields_said(study: Study, other: Study) -> list[str]:
    """Fields that the title of a study's variant names, in their order; none if the other study is no variant."""
    opening = f"{study.title} ("
    named = other.name.startswith(f"{study.name}_") and other.title.startswith(opening)
    if not named or not other.title.endswith(")"):
        return []
    settings = other.model_dump(mode="json")
    parts = [part.partition(" ") for part in other.title[len(opening) : -1].split(", ")]
    return [field for field, _, value in parts if value and _get(settings, field) is not _ABSENT]


def _get(settings: dict[str, Any], field: str) -> Any:
    place: Any = settings
    for part in field.split("."):
        if not isinstance(place, dict) or part not in place:
            return _ABSENT
        place = place[part]
    return place


def put(attributes: dict[str, Any], field: str, value: Any, *, where: str = "over") -> None:
    """Put a value in its place among a study's attributes; blocks that are not there are made.

    Args:
        attributes: of a study, changed in place.
        field: dotted name.
        value: of the field.
        where: what the field stands in, for the error.

    Raises:
        ValueError: a field that belongs to a variant itself, or below a field that is no block.
    """
    if field in ("name", "title", "sweep", "protections", "protection"):
        raise ValueError(f"{where} {field}: no sweep varies it, for every variant gets its own")
    *blocks, last = field.split(".")
    place = attributes
    for block in blocks:
        place = place.setdefault(block, {})
        if not isinstance(place, dict):
            raise ValueError(f"{where} {field}: {block} is no block of the study")  # noqa: TRY004 - a wrong name
    place[last] = value


def _slug(value: Any) -> str:
    """A value in lower-case letters, digits and _, at most 12 of them: 0.0005 is 0p0005, -1 is m1."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:g}".replace("+", "").replace("-", "m").replace(".", "p")
    text = value if isinstance(value, str) else ""
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if slug and len(slug) <= 12:
        return slug
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]
