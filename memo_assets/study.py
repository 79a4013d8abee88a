"""The Dagster side of a study: the component that turns one `defs.yaml` into the assets of one study."""

import dagster as dg
from pydantic import BaseModel, ConfigDict

from memo_assets.assets.build import study_assets
from memo_assets.assets.checks import build as study_checks
from memo_assets.automation.everything import everything_job
from memo_assets.automation.sensor import nightly_sensor, with_conditions
from memo_assets.config import Study
from memo_assets.study_file import StudyError, load_studies, load_study, read_variants

__all__ = ["Study", "StudyComponent", "StudyError", "load_studies", "load_study", "study_definitions"]


class _AnyAttributes(BaseModel):
    """Lets the component's attributes through unchecked: `study_file` checks them, with one message for all callers."""

    model_config = ConfigDict(extra="allow")


class StudyComponent(dg.Component):
    """One data set x one base model x one recipe: all assets of a study, and of its variants, from its settings.

    Attributes:
        studies: the settings of the study, then those of its variants.
    """

    def __init__(self, studies: list[Study]) -> None:
        self.studies = studies

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes as Dagster reads them."""
        return _AnyAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "StudyComponent":  # noqa: ARG003
        """Read the study file that the component stands in.

        Raises:
            StudyError: the file is not a valid study.
        """
        return cls(read_variants(context.path / "defs.yaml"))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Assets of the studies; resources are added once for all in `definitions`."""
        return dg.Definitions.merge(*(study_definitions(study) for study in self.studies))


def study_definitions(study: Study) -> dg.Definitions:
    """Dagster definitions of one study, without resources.

    Args:
        study: the settings.
    """
    assets = study_assets(study)
    checks, jobs = study_checks(study), [everything_job(study, assets)]
    if study.nightly is None:
        return dg.Definitions(assets=assets, asset_checks=checks, jobs=jobs)
    automated, sensors = with_conditions(study, assets), [nightly_sensor(study)]
    return dg.Definitions(assets=automated, asset_checks=checks, jobs=jobs, sensors=sensors)
