"""The one entry of the code location: studies, resources, executor."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from memo_assets.assets import comparison, source
from memo_assets.assets.pictures import PicturesResource
from memo_assets.assets.watching import ComputeLog, ExecutorResource
from memo_assets.store.umask import set_umask
from memo_assets.study import Study, load_studies, study_definitions
from memo_assets.study_file import STUDIES_DIR

# Backfill policies are still marked beta; the pinned minor release keeps them as they are.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build_defs(
    studies: Iterable[Study] | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Assemble the definitions, the same way for production, demo and tests.

    Args:
        studies: the studies; by default the built-in ones and the user's own.
        resource_overrides: resources that take the place of the usual ones.
    """
    if studies is None:
        # One message for the problems of all files, before the component loader stops at the first.
        studies = tuple(load_studies().values())
        built_in = load_studies(STUDIES_DIR)
        own = [study for study in studies if study.name not in built_in]
        parts = [dg.load_from_defs_folder(path_within_project=Path(__file__).parent)]
        parts += [study_definitions(study) for study in own]
    else:
        studies = tuple(studies)
        parts = [study_definitions(study) for study in studies]
    parts.append(dg.Definitions(assets=comparison.build(studies), sensors=[source.sensor(studies)]))
    usual = {"executor": ExecutorResource(), "observer": ComputeLog(), "pictures": PicturesResource()}
    resources = {**usual, **(resource_overrides or {})}
    return dg.Definitions.merge(*parts, dg.Definitions(resources=resources, executor=dg.in_process_executor))


@dg.definitions
def defs() -> dg.Definitions:
    """Everything the web UI and the daemon load."""
    set_umask()  # the process that loads this runs the steps, too
    return build_defs()
