"""The command `memo status`."""

import json
from typing import Annotated

import typer

from memo_assets.cli_output import console, fail, writable


def status(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Studies, each with all its assets; by default a line for every study."),
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Say what of each study is fresh, stale (and why), missing or failed. Sources are looked at first."""
    from memo_assets.assets.source import observe
    from memo_assets.console_status import as_records, show_status
    from memo_assets.definitions import build_defs
    from memo_assets.instance import end_dead_runs, open_instance
    from memo_assets.status import Record, source_state
    from memo_assets.study import StudyError, load_studies, load_study

    if output not in ("table", "json"):
        fail(f"--format: given {output!r}; expected table or json")
    try:
        studies = [load_study(name) for name in names] if names else list(load_studies().values())
    except StudyError as error:
        fail(str(error))
    definitions = build_defs(studies)
    with writable(), open_instance() as instance:
        end_dead_runs(instance)
        sources = [source_state(observe(study, instance)) for study in studies]
        record = Record(definitions, instance)
        looked = [
            (study, [source, *record.states(study)]) for study, source in zip(studies, sources, strict=True)
        ]
    if output == "json":
        print(json.dumps(as_records(looked), indent=1))  # noqa: T201
    else:
        show_status(console, looked, all_assets=bool(names))
