"""The command `memo`."""

import os
import sys
import warnings
from contextlib import closing
from typing import Annotated

import typer
from rich.markup import escape

from memo_assets.cli_audit import audit, verify
from memo_assets.cli_compare import compare
from memo_assets.cli_doctor import doctor
from memo_assets.cli_output import console, fail, fail_run, writable
from memo_assets.cli_slurm import slurm_app
from memo_assets.cli_sql import sql
from memo_assets.cli_status import status
from memo_assets.cli_study import study_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Know early in a fine-tuning run which training samples a model is about to memorize.",
)
app.add_typer(study_app, name="study")
app.add_typer(slurm_app, name="slurm")

DEMO_STUDIES = ["cities", "digits"]


@app.callback()
def _settings() -> None:
    from memo_assets.compute.choice import chosen_kind
    from memo_assets.compute.errors import ExecutorError
    from memo_assets.store.layout import warehouse_dir
    from memo_assets.store.umask import UmaskError, set_umask

    warnings.filterwarnings("ignore", module=r"dagster\..*")
    try:
        set_umask()
        warehouse_dir()
        chosen_kind()
    except (UmaskError, NotADirectoryError, ExecutorError) as error:
        fail(str(error))


@app.command()
def demo(
    names: Annotated[
        list[str] | None, typer.Argument(help="Studies to bring up to date; by default cities and digits.")
    ] = None,
) -> None:
    """Bring the demo studies up to date: only what is missing, stale or failed is run.

    MEMO_EXECUTOR=slurm sends the GPU-bound steps to a Slurm cluster.
    """
    from memo_assets.assets.source import observe
    from memo_assets.compute.choice import chosen_kind, make_executor
    from memo_assets.console import LiveProgress, results_table
    from memo_assets.definitions import build_defs
    from memo_assets.instance import open_instance
    from memo_assets.pipeline import RunFailed, bring_up_to_date
    from memo_assets.store.layout import Layout
    from memo_assets.store.tables import reading
    from memo_assets.study import StudyError, load_study

    try:
        studies = [load_study(name) for name in names or DEMO_STUDIES]
    except StudyError as error:
        fail(str(error))
    kind = chosen_kind()
    with (
        writable(),
        LiveProgress(console, tell_states=kind == "slurm") as watcher,
        open_instance() as instance,
        closing(make_executor(kind)) as executor,
    ):
        definitions = build_defs(studies, {"observer": watcher, "executor": executor})
        for study in studies:
            try:
                runs = bring_up_to_date(
                    study, definitions, instance, watcher, before_first_run=executor.warm_up
                )
            except RunFailed as error:
                fail_run(str(error))
            if not runs:
                console.print(f"study {study.name}: everything is fresh, nothing to do")
            if unseen := observe(study, instance):
                note = f"study {study.name}: whether its source has changed cannot be seen: {unseen}"
                console.print(escape(note), highlight=False, soft_wrap=True)
    with writable(), reading() as connection:
        from memo_assets.analysis.frames import Subject

        for study in studies:
            console.print(results_table(Subject(connection, study, study.shadows.audited[0])))
    for study in studies:
        console.print(f"report of {study.name}: {Layout.of(study.name).report}", soft_wrap=True)
    console.print(
        "next: [bold]make ui[/] (or memo ui) opens the web UI, [bold]memo sql --help[/] asks the warehouse"
    )


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 3000,
) -> None:
    """Open the Dagster web UI and daemon on this machine's loopback address."""
    from memo_assets.instance import end_dead_runs, open_instance
    from memo_assets.store.layout import project_root
    from memo_assets.study import StudyError, load_studies

    try:
        load_studies()
    except StudyError as error:
        fail(str(error))
    with writable(), open_instance() as instance:
        end_dead_runs(instance)  # of a web UI that was killed: nobody else would notice
    console.print(f"web UI: http://127.0.0.1:{port}  (stop with Ctrl-C)")
    workspace = project_root() / "workspace.yaml"
    code = ["-w", str(workspace)] if workspace.is_file() else ["-m", "memo_assets.definitions"]
    command = ["dagster", "dev", *code, "-h", "127.0.0.1", "-p", str(port)]
    os.execv(  # noqa: S606 - no shell is what is wanted
        sys.executable, [sys.executable, "-m", *command]
    )


app.command()(audit)
app.command()(verify)
app.command()(doctor)
app.command()(sql)
app.command()(status)
app.command()(compare)


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="Studies: built-in names, paths of a defs.yaml or of its folder.")
    ],
) -> None:
    """Download the models of studies into the cache below HF_HOME, for nodes without internet."""
    from memo_assets.fetch import FetchError, fetch_study
    from memo_assets.study_file import StudyError, load_study

    try:
        studies = [load_study(name) for name in names]
    except StudyError as error:
        fail(str(error))
    for study in studies:
        try:
            sentences = fetch_study(study)
        except FetchError as error:
            fail(f"study {study.name}: {error}")
        for sentence in sentences:
            console.print(escape(f"study {study.name}: {sentence}"), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
