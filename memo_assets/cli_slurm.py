"""The commands `memo slurm ...`."""

from typing import Annotated

import typer

from memo_assets.cli_output import console, fail

slurm_app = typer.Typer(no_args_is_help=True, help="See what a Slurm cluster would get, and check its nodes.")

StudyName = Annotated[str, typer.Argument(help="Name of a built-in study, a defs.yaml or its folder.")]
StepName = Annotated[
    str | None,
    typer.Option(
        "--asset",
        help="base_model, audit, adapters, logits, layer_scores or answer_variation; by default all.",
    ),
]


@slurm_app.command()
def preview(study: StudyName, asset: StepName = None) -> None:
    """Print the batch scripts that a study would submit for all its split seeds; nothing is sent."""
    from memo_assets.compute.errors import ExecutorError
    from memo_assets.compute.slurm.preview import GPU_STEPS
    from memo_assets.compute.slurm.preview import preview as text_of
    from memo_assets.config import GpuStep
    from memo_assets.graph import steps
    from memo_assets.study_file import StudyError, load_study

    try:
        found = load_study(study)
        there: list[GpuStep] = [step for step in GPU_STEPS if step in steps(found)]
        if asset is not None and asset not in there:
            fail(f"--asset: given {asset!r}; study {found.name} has {', '.join(there)}")
        texts = [text_of(found, step) for step in there if asset in (None, step)]
    except (StudyError, ExecutorError) as error:
        fail(str(error))
    print("\n".join(texts))  # noqa: T201 - a script, free of markup and wrapping


@slurm_app.command()
def check(study: StudyName) -> None:
    """Submit one tiny job: do nodes see the warehouse, and can they run a worker of this very code?"""
    from memo_assets.compute.errors import ExecutorError
    from memo_assets.compute.slurm.probe import check_nodes
    from memo_assets.compute.slurm.queue import SlurmQueue
    from memo_assets.compute.slurm.settings import slurm_settings
    from memo_assets.store.layout import warehouse_dir
    from memo_assets.study_file import StudyError, load_study

    try:
        settings = slurm_settings(load_study(study), "adapters")
        check_nodes(settings, warehouse_dir(), SlurmQueue(), _Printing(), again=True)
    except (StudyError, ExecutorError, OSError) as error:
        fail(str(error))
    console.print("[green]fine[/]")


class _Printing:
    """Prints what the probe tells."""

    def on_state(self, text: str) -> None:
        """Print it as a line."""
        console.print(text, highlight=False, soft_wrap=True, markup=False)
