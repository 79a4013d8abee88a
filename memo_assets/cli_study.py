"""The commands `memo study ...`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.prompt import Confirm, Prompt
from rich.table import Table

from memo_assets.cli_output import console, fail

study_app = typer.Typer(no_args_is_help=True, help="List, check, draft and estimate studies.")


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
        table.add_row(study.name, escape(study.title), study.data.source, study.model.kind, shadows)
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
        console.print(escape(f"{name}: {value}"), highlight=False)
    console.print("[green]fine[/]")


@study_app.command()
def cost(
    file: Annotated[str, typer.Argument(help="A defs.yaml, its folder, or the name of a study.")],
    *,
    tflops: Annotated[
        float, typer.Option(help="10^12 operations a second that one device reaches on this work.", min=1e-6)
    ] = 100.0,
    samples: Annotated[
        int | None, typer.Option(help="Pool and test, where the data are not here.", min=20)
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Mean tokens of a prompt, likewise.", min=1)] = None,
    parameters: Annotated[
        float | None, typer.Option(help="Parameters of a base model that is not here, such as 7.24e9.", min=1)
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time a few steps on this machine, with random weights.")
    ] = False,
) -> None:
    """Estimate what a study takes before it is run: samples, tokens, operations, files, hours.

    100 TFLOP/s is about a third of what an A100 reaches at best in bf16.
    """
    from memo_assets.cost.report import cost_lines
    from memo_assets.cost.sizes import Given
    from memo_assets.study_file import StudyError, load_study

    try:
        lines = cost_lines(
            load_study(file), Given(samples, tokens, parameters), tflops=tflops, with_calibration=calibrate
        )
    except (StudyError, ValueError, OSError) as error:
        fail(str(error))
    for name, value in lines.items():
        console.print(escape(f"{name}: {value}"), highlight=False, soft_wrap=True)


@study_app.command()
def new(
    *,
    source: Annotated[
        Path, typer.Option("--from", help="CSV, JSON Lines or Parquet file, one row a sample.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the study; by default after the file.")] = None,
    text: Annotated[str | None, typer.Option(help="Column that holds the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column that holds the label.")] = None,
    id: Annotated[str | None, typer.Option(help="Column of unique ids; by default the row number.")] = None,  # noqa: A002 - the option's name
    model: Annotated[
        str | None, typer.Option(help="Hub id, directory or .gguf file; by default SmolLM2-135M.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Template with {text}; given again, one more to draw from.")
    ] = None,
    models: Annotated[int, typer.Option(help="Models to train.", min=4, max=1000)] = 34,
    epochs: Annotated[int, typer.Option(help="Passes of each over its training samples.", min=1)] = 5,
    directory: Annotated[
        Path | None, typer.Option(help="Where the study's folder goes; by default studies/, or MEMO_STUDIES.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Take the columns that are proposed; ask nothing.")
    ] = False,
) -> None:
    """Draft a study of a table of your own: its defs.yaml, with a comment on every setting.

    Columns that are not given are asked for on a terminal. A study that is there already is left alone.
    """
    from memo_assets.data.errors import DataError
    from memo_assets.data.table import read_columns
    from memo_assets.new_study.columns import propose
    from memo_assets.new_study.draft import Draft, usual_name, write_draft
    from memo_assets.study_file import StudyError, own_studies_dir

    try:
        if text is None or label is None:
            columns = read_columns(source)
            likely = propose(columns)
            asked = not yes and _on_terminal()
            text = text or _column("text", likely.text, list(columns), asked=asked, taken=yes)
            label = label or _column("label", likely.label, list(columns), asked=asked, taken=yes)
            id = id or (likely.id if yes or (asked and _is_id(likely.id)) else None)  # noqa: A001
        draft = Draft(
            name=name or usual_name(source),
            table=source,
            text=text,
            label=label,
            id=id,
            model=model,
            templates=tuple(prompt or ()),
            models=models,
            epochs=epochs,
        )
        counts = draft.label_counts()
        table = Table("Label", "Samples")
        for value, count in sorted(counts.items()):
            table.add_row(escape(value), str(count))
        console.print(table)
        path, facts = write_draft(draft, own_studies_dir() if directory is None else directory)
    except (StudyError, DataError, OSError) as error:
        fail(str(error))
    for fact, value in facts.items():
        console.print(f"{fact}: {value}", highlight=False, markup=False)
    console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
    runnable = draft.name if directory is None else path
    console.print(f"next: read it, then memo demo {runnable}", highlight=False, markup=False, soft_wrap=True)


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _column(option: str, likely: str | None, names: list[str], *, asked: bool, taken: bool) -> str:
    """The column to take: the likely one, or what is answered on a terminal."""
    if asked:
        question = f"column that holds the {option}"
        if likely is None:
            return Prompt.ask(question, console=console, choices=names)
        return Prompt.ask(question, console=console, choices=names, default=likely)
    if likely is None or not taken:
        guess = f"; {likely!r} looks like it, and --yes takes it" if likely else ""
        fail(
            f"--{option}: name the column that holds the {option}, one of {', '.join(map(repr, names))}{guess}"
        )
    return likely


def _is_id(likely: str | None) -> bool:
    return likely is not None and Confirm.ask(
        f"name samples by the column {likely!r}, which is unique", console=console, default=True
    )
