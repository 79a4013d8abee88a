"""The commands `memo audit` and `memo verify`."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from memo_assets.cli_output import console, fail

if TYPE_CHECKING:
    from memo_assets.audit import AuditResult, AuditSettings

ABOVE = 2
_ROWS = 10


def audit(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet file, one row a sample.")],
    *,
    text: Annotated[str, typer.Option(help="Column that holds the text.")],
    label: Annotated[str, typer.Option(help="Column that holds the label, 2 to 16 different ones.")],
    model: Annotated[
        str,
        typer.Option(
            help="Hub id, directory, smollm2 (SmolLM2-135M, no hub needed) or tiny (a toy, for a quick look)."
        ),
    ] = "smollm2",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default FILE-audit beside you.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="Column of unique ids; by default the row number.")] = None,  # noqa: A002 - the option's name
    epochs: Annotated[
        int, typer.Option(help="Epochs of the fine-tuning you plan; the audit's cap.", min=1)
    ] = 5,
    rule: Annotated[
        str, typer.Option(help="When the loss is low: running (median of training losses) or checkpoint.")
    ] = "running",
    drop: Annotated[float, typer.Option(help="Share by which the median loss must fall.")] = 0.95,
    learning_rate: Annotated[float | None, typer.Option(help="By default 0.0005; tiny: 0.001.")] = None,
    batch_size: Annotated[int, typer.Option(help="Samples of one step.", min=1)] = 8,
    template: Annotated[str | None, typer.Option(help="Prompt with {text}.")] = None,
    max_length: Annotated[
        int, typer.Option(help="Tokens of a prompt; longer ones lose their beginning.", min=8)
    ] = 512,
    canaries: Annotated[
        int | None,
        typer.Option(help="Planted samples of each kind; by default one for every 50 rows.", min=0),
    ] = None,
    shadows: Annotated[
        int, typer.Option(help="Shadow models of a calibration, an even number from 8; 0: none.", min=0)
    ] = 0,
    revision: Annotated[str | None, typer.Option(help="Commit of a hub model.")] = None,
    dtype: Annotated[str, typer.Option(help="fp32, bf16, int8 or nf4.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Seed of every random draw.", min=0)] = 0,
    show_text: Annotated[bool, typer.Option("--show-text", help="Let results hold the texts.")] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(help="End with code 2 if a larger share of the samples is flagged.", min=0, max=1),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")
    ] = False,
) -> None:
    """Find the samples of your data that a model fine-tuned on them is about to memorize.

    One training run that stops early, no shadow models. Writes at_risk.csv, at_risk.parquet, report.html and audit.json.
    Ends with code 0, with 1 on an error, with 2 above --fail-above. A killed audit goes on where it stood.
    """
    from pydantic import ValidationError

    from memo_assets.audit import AuditSettings
    from memo_assets.audit.result import SUMMARY

    fields: dict[str, Any] = {
        "model": model, "epochs": epochs, "rule": rule, "drop": drop, "learning_rate": learning_rate,
        "batch_size": batch_size, "template": template, "max_length": max_length, "canaries": canaries,
        "shadows": shadows, "revision": revision, "dtype": dtype, "seed": seed, "show_text": show_text,
    }  # fmt: skip
    try:
        settings = AuditSettings(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        fail(f"{option}: given {first['input']!r}; {first['msg'].lower()}")
    folder = Path(f"{file.stem}-audit") if out is None else out
    if folder.exists() and (not folder.is_dir() or _foreign(folder)):
        fail(f"--out: {folder} is there and holds no audit: name another folder, which will be made")
    columns = {"text": text, "label": label, "id": id}
    result = _run(file, columns, settings, folder, quiet=as_json)
    path = result.save(folder)
    _remove_work(folder)
    share = result.summary.risk.share.value
    if as_json:
        print((folder / SUMMARY).read_text(encoding="utf-8"), end="")  # noqa: T201
    else:
        _show(result, path)
    if fail_above is not None and share is not None and share > fail_above:
        if not as_json:
            console.print(f"[red]{share:.1%} of the samples are flagged, more than {fail_above:.1%}[/]")
        raise typer.Exit(ABOVE)


def verify(
    report: Annotated[Path, typer.Argument(help="An audit.json, or the folder that holds it.")],
) -> None:
    """Check that a report is whole: its schema, its content hash, and the files beside it."""
    from memo_assets.audit import VerifyError
    from memo_assets.audit import verify as check

    try:
        summary = check(report)
    except (VerifyError, OSError) as error:
        fail(str(error))
    share = summary.risk.share
    console.print(
        f"{escape(summary.data.source)}: {share.successes} of {share.trials} samples flagged, model "
        f"{escape(summary.model.name)}, {summary.created}",
        highlight=False,
    )
    console.print(f"content hash {summary.content_hash}", highlight=False, soft_wrap=True)
    console.print(
        f"[green]whole[/]: schema {summary.schema_version}, {len(summary.files)} files beside it as written"
    )


def _run(
    file: Path, names: dict[str, Any], settings: "AuditSettings", folder: Path, *, quiet: bool
) -> "AuditResult":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from transformers.utils import logging

    from memo_assets.audit.engine import audit as run_audit
    from memo_assets.data.errors import DataError
    from memo_assets.data.table import read_columns
    from memo_assets.models.errors import ModelMissingError
    from memo_assets.training.interruption import Interrupted

    logging.disable_progress_bar()
    asked: list[int] = []

    def stop(given: int, _frame: object) -> None:
        asked.append(given)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                number, signal.SIG_DFL
            )  # between steps nobody asks: the second time ends it at once
        say.print("stopping after this step; once more ends at once", highlight=False)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    say = Console(stderr=True, quiet=quiet)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=say, transient=True,
    )  # fmt: skip
    task = bar.add_task("reading", total=None)

    def told(done: int, total: int, unit: str) -> None:
        bar.update(task, description=unit, completed=done, total=total)

    try:
        with bar:
            import pandas as pd

            columns = read_columns(file)
            frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
            return run_audit(
                frame,
                **names,
                settings=settings,
                work=folder / ".work",
                source=str(file),
                on_progress=told,
                should_stop=lambda: bool(asked),
            )
    except Interrupted as stopped:
        fail(
            f"{stopped}; the same command {'goes on there' if stopped.kept else 'makes it again, and nothing before it'}"
        )
    except (DataError, ModelMissingError, ValueError, OSError, FloatingPointError) as error:
        fail(str(error))


def _show(result: "AuditResult", path: Path) -> None:
    summary = result.summary
    share = summary.risk.share
    if summary.model.note:
        console.print(f"[yellow]note[/] the model is {summary.model.note}", highlight=False)
    mark = "" if summary.run.reached else "[yellow]warning[/] "
    console.print(f"{mark}{escape(summary.run.message)}", highlight=False)
    console.print(f"labels: {escape(summary.data.answers_in_words)}", highlight=False)
    table = Table(title=f"{share.successes} of {share.trials} samples at risk ({summary.risk.rule})")
    shows_text = "text" in result.at_risk
    for heading in ("Rank", "Sample", *(["Text"] * shows_text), "Label", "PSMI", "Loss", "Suspected label"):
        table.add_column(
            heading, justify="right" if heading in ("Rank", "PSMI", "Loss") else "left", overflow="fold"
        )
    for row in result.flagged.head(_ROWS).to_dict("records"):
        shown = [escape(str(row["text"])[:120])] if shows_text else []
        suspected = row["suspected_label"]
        table.add_row(
            str(row["rank"]), escape(str(row["item_id"])), *shown, escape(str(row["label"])), f"{row['psmi']:.3f}",
            f"{row['loss']:.3g}", escape(suspected) if isinstance(suspected, str) else "",
        )  # fmt: skip
    console.print(table)
    for control in summary.controls:
        rate = control.flagged
        value = rate.refused or f"{rate.value:.0%} flagged (95 % interval {rate.low:.0%} to {rate.high:.0%})"
        console.print(f"control {control.kind}, expected {control.expected}: {value}", highlight=False)
    if summary.controls_refused:
        console.print(f"no controls: {escape(summary.controls_refused)}", highlight=False)
    if summary.calibration is not None:
        for name in ("precision", "recall", "false_positive_rate"):
            rate = getattr(summary.calibration, name)
            value = rate.refused or f"{rate.value:.1%} (95 % interval {rate.low:.1%} to {rate.high:.1%})"
            console.print(
                f"{name.replace('_', ' ')} by {summary.calibration.shadows} shadow models: {value}",
                highlight=False,
            )
    console.print(f"report: {path.parent / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(
        f"written: {path}; check it with memo verify {path.parent}", highlight=False, soft_wrap=True
    )


def _foreign(folder: Path) -> bool:
    """Whether a folder holds something that no audit wrote."""
    from memo_assets.audit.result import CSV, PAGE, PARQUET, SUMMARY

    return any(entry.name not in (CSV, PAGE, PARQUET, SUMMARY, ".work") for entry in folder.iterdir())


def _remove_work(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / ".work", ignore_errors=True)
