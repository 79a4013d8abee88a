"""The Dagster instance under the warehouse directory."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from memo_assets.store.layout import dagster_home

_TEMPLATE = Path(__file__).parent / "dagster.yaml"


def prepare_home() -> Path:
    """Make DAGSTER_HOME and its settings if they are not there; set the variable for this process.

    Returns:
        The folder.
    """
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(_TEMPLATE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance whose runs the web UI shows."""
    prepare_home()
    with dg.DagsterInstance.get() as instance:
        yield instance
