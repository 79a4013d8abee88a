"""Variants of one study: from its attributes and its sweep to the attributes of each variant.

What belongs here: names and titles of variants, and putting values in their places. What does not: which values
(`config.sweep`), checking a variant (`study_file`).
"""

import copy
import hashlib
import json
import re
from typing import Any

from memo_assets.config.sweep import Sweep

MAX_NAME = 40  # of a study, see `config.base.NAME_PATTERN`


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
            _put(variant, field, value)
        values = ", ".join(f"{field} {_text(value)}" for field, value in combination.items())
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


def _put(attributes: dict[str, Any], field: str, value: Any) -> None:
    if field in ("name", "title", "sweep"):
        raise ValueError(f"over {field}: no sweep varies it, for every variant gets its own")
    *blocks, last = field.split(".")
    place = attributes
    for block in blocks:
        place = place.setdefault(block, {})
        if not isinstance(place, dict):
            raise ValueError(f"over {field}: {block} is no block of the study")  # noqa: TRY004 - a wrong name
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


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
