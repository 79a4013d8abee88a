"""What Slurm is asked for in the end: the site's file, the study, and what differs by asset, put together.

What belongs here: reading the site's file and laying one block of settings over the other.
"""

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from memo_assets.compute.errors import ExecutorError
from memo_assets.config import GpuStep, Slurm, Study
from memo_assets.config.yaml_text import repeated_keys, unquoted_times
from memo_assets.store.layout import warehouse_dir

SITE_VARIABLE = "MEMO_SLURM"
_DEFAULTS = Slurm(requeues=10, notice_seconds=120)


class Site(Slurm):
    """What holds for all studies on one cluster, such as partition and account."""

    by_asset: dict[GpuStep, Slurm] = Field(default={}, description="By asset, what differs there.")


def slurm_settings(study: Study, step: GpuStep) -> Slurm:
    """Settings for one asset of one study; later ones win: site, site by asset, study, study by asset.

    Environment variables and further flags are merged by name, everything else is replaced.

    Raises:
        ExecutorError: the site's file is invalid.
    """
    site = read_site()
    layers = [
        _DEFAULTS,
        Slurm.model_validate(site.model_dump(exclude={"by_asset"})),
        site.by_asset.get(step, Slurm()),
        study.compute.slurm,
        study.compute.slurm_by_asset.get(step, Slurm()),
    ]
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.model_dump(exclude_none=True).items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    values.setdefault("cpus", study.compute.threads)
    return Slurm.model_validate(values)


def site_file() -> Path:
    """The file of the site's settings: MEMO_SLURM, else `slurm.yaml` in the warehouse directory."""
    given = os.environ.get(SITE_VARIABLE)
    return Path(given).expanduser().resolve() if given else warehouse_dir() / "slurm.yaml"


def read_site() -> Site:
    """The site's settings; all empty if there is no file.

    Raises:
        ExecutorError: MEMO_SLURM names no file, or the file is invalid.
    """
    path = site_file()
    if not path.is_file():
        if os.environ.get(SITE_VARIABLE):
            raise ExecutorError(f"{SITE_VARIABLE}={path} is no file: write one, or unset the variable")
        return Site()
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if misread := [*repeated_keys(node), *unquoted_times(node)]:
            raise ExecutorError("\n".join(f"{path}:{problem}" for problem in misread))
        content = yaml.safe_load(text)
        return Site.model_validate({} if content is None else content)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            field = ".".join(map(str, problem["loc"]))
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = f"unknown field; allowed: {', '.join(sorted(Site.model_fields))}"
            elif problem["type"] == "string_type":
                message = f"given {problem['input']!r}; expected a string: write it in quotes"
            problems.append(f"{path}: {field}: {message}")
        raise ExecutorError("\n".join(problems)) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ExecutorError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
