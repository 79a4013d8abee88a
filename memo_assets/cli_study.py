"""The commands `memo study ...`."""

from typing import Annotated

import typer
from rich.table import Table

from memo_assets.cli_output import console, fail

study_app = typer.Typer(no_args_is_help=True, help="List and check studies.")


@study_app.command("list")
def list_studies() -> None:
    """List the built-in studies and your own."""
    from memo_assets.study_file import StudyError, load_studies

    try:
        studies = load_studies()
    except StudyError as error:
        fail(str(error))
    table = Table("Study", "Title", "Data", "Model", "Models")
    for study in studies.values():
        shadows = str(study.shadows.models)
        table.add_row(study.name, study.title, study.data.source, study.model.kind, shadows)
    console.print(table)


@study_app.command()
def check(
    file: Annotated[str, typer.Argument(help="A defs.yaml, its folder, or the name of a study.")],
) -> None:
    """Check a study's settings, load its data and check that too; nothing is written."""
    from memo_assets.study_check import check_study
    from memo_assets.study_file import StudyError

    try:
        facts = check_study(file)
    except (StudyError, ValueError, OSError) as error:
        fail(str(error))
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False)
    console.print("[green]fine[/]")
