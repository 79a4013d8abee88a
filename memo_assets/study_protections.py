"""Protected variants of a study: from its attributes and its block `protections` to the attributes of each, and back.

What belongs here: names and titles of variants, and finding a study's variants among studies. What does not: the settings
(`config.protection`), checking a variant (`study_file`).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memo_assets.config import Study
from memo_assets.config.protection import Protections
from memo_assets.study_sweep import MAX_NAME, put


@dataclass(frozen=True)
class ProtectedStudy:
    """An unprotected study and its protected variants.

    Attributes:
        study: the unprotected one.
        variants: by the name of their protection, in the order of the file.
    """

    study: Study
    variants: dict[str, Study]

    @property
    def uses_audit(self) -> bool:
        """Whether a variant treats the samples that the study's audit flags."""
        return any(treats_at_risk(variant) for variant in self.variants.values())


def protected_studies(studies: Sequence[Study]) -> list[ProtectedStudy]:
    """The studies that have protected variants among these.

    Args:
        studies: in the order in which they are shown.
    """
    found = []
    for study in studies:
        variants = {
            other.protection.mitigation: other
            for other in studies
            if other.protection is not None and other.protection.base == study.name
        }
        if variants:
            found.append(ProtectedStudy(study, variants))
    return found


def treats_at_risk(study: Study) -> bool:
    """Whether a study is trained otherwise on the samples that its base study's audit flags."""
    return study.protection is not None and study.protection.at_risk is not None


def protected_variants(attributes: dict[str, Any], protections: Protections) -> list[dict[str, Any]]:
    """Attributes of every protected variant, in the order given.

    A variant is called STUDY_NAME and has a block `protection`; fields of `set` have other values.

    Args:
        attributes: of the study itself, without `protections`.
        protections: by name.

    Raises:
        ValueError: a field of `set` whose block is not in the study, or a name that is too long.
    """
    made = []
    base = str(attributes.get("name"))
    for mitigation, settings in protections.by_name.items():
        name = f"{base}_{mitigation}"
        if len(name) > MAX_NAME:
            raise ValueError(
                f"{mitigation}: the variant would be called {name}, {len(name)} characters where {MAX_NAME} are allowed; "
                "give the study or the protection a shorter name"
            )
        variant = copy.deepcopy(attributes)
        for field, value in settings.set.items():
            put(variant, field, value, where=f"{mitigation}: set")
        block = {"base": base, "mitigation": mitigation, **settings.settings()}
        made.append(
            {
                **variant,
                "name": name,
                "title": f"{attributes.get('title')}: {mitigation}",
                "protection": block,
            }
        )
    return made
