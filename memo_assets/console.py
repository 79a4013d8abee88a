"""What the command line shows: live progress and tables of results, with rich."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from memo_assets.analysis.facts import Facts, facts, results
from memo_assets.analysis.frames import Subject
from memo_assets.analysis.published import SOURCE
from memo_assets.compute.items import Progress as WorkerProgress
from memo_assets.compute.items import WorkItem
from memo_assets.config import Study
from memo_assets.figures.theme import predictor_label
from memo_assets.graph import FIGURES, steps

if TYPE_CHECKING:
    import pandas as pd


class LiveProgress:
    """A `pipeline.Watcher` that shows the current step, split seeds done of all, and time, live.

    Where the output is no terminal, one line per finished step is printed instead.

    Args:
        console: where to show it.
        tell_states: whether to show what the executor tells of its queue.
    """

    def __init__(self, console: Console, *, tell_states: bool = False) -> None:
        self._console = console
        self._tell_states = tell_states
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[study]}[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._running: tuple[Study, str, int, float] | None = None
        self._partitions = 0
        self._workers: dict[str, tuple[int, WorkerProgress]] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(completed=error is None)
        self._bar.stop()

    def asset_started(self, study: Study, name: str, partitions: int) -> None:
        """Show a new step; the one before is done."""
        self._finish()
        self._partitions, self._workers = 0, {}
        number = list(steps(study)).index(name) + 1
        name = "figures" if name in FIGURES else name
        self._running = (study, name, partitions, time.monotonic())
        self._task = self._bar.add_task(
            f"{number}/{len(steps(study))} {name}", total=None, study=study.name, state=self._state()
        )

    def partition_done(self, study: Study, name: str, partition: str | None) -> None:  # noqa: ARG002
        """Count a finished partition; figures are finished by one step."""
        if self._running is None or partition is None:
            return
        self._partitions += 1
        self._update()

    def check_warned(self, study: Study, name: str, sentence: str) -> None:
        """Show it as a line that stays."""
        self._console.print(
            f"[yellow]warning[/] {study.name}/{name}: {escape(sentence)}", highlight=False, soft_wrap=True
        )

    def on_progress(self, item: WorkItem, progress: WorkerProgress) -> None:
        """Show how far the running workers are."""
        self._workers[item.key] = (max(len(item.seeds), 1), progress)
        self._update()

    def on_log(self, item: WorkItem, text: str) -> None:
        """Nothing: the run's log in the web UI has it, and errors come with the end of their log."""

    def on_state(self, text: str) -> None:
        """Show it as a line, since it may stand for hours of waiting."""
        if self._tell_states:
            self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _update(self) -> None:
        if self._task is None or self._running is None:
            return
        total = max(self._running[2], 1)
        done = sum(
            seeds * progress.done / max(progress.total, 1) for seeds, progress in self._workers.values()
        )
        done = max(done, self._partitions)
        self._bar.update(self._task, total=total, completed=min(done, total), state=self._state())

    def _state(self) -> str:
        if self._running is None or not self._running[2]:
            return ""
        return f"{self._partitions} of {self._running[2]} done"

    def _finish(self, *, completed: bool = True) -> None:
        if self._running is None:
            return
        study, name, partitions, started = self._running
        many = f" ({partitions} partitions)" if partitions > 1 else ""
        mark = "[green]done[/]" if completed else "[red]stopped[/]"
        self._console.print(
            f"{mark} {study.name}/{name}{many}: {time.monotonic() - started:.1f} s", highlight=False
        )
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._running = None


def results_table(subject: Subject) -> Table:
    """Predictors of one audited model at its prediction epoch: AUC, FPR at TPR .75, TPR at FPR 1 %, default rule."""
    known = facts(subject)
    table = Table(
        title=f"{escape(subject.study.title)} ({subject.study.name})", caption=_caption(subject, known)
    )
    table.add_column("Predictor", no_wrap=True)
    for heading in ("AUC", "FPR¹", "TPR²", "PSMI < 0³"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = results(subject)
    shown = rows[rows["is_last_layer"] | (rows["predictor"] == "psmi")]
    for row in shown.itertuples():
        layer = int(row.layer) or None  # pyright: ignore[reportArgumentType]
        best = " (best layer)" if row.is_best_layer and not row.is_last_layer else ""
        rule = f"{row.rule_fpr:.3f}, {row.rule_tpr:.3f}" if row.predictor == "psmi" else ""
        table.add_row(
            f"{predictor_label(str(row.predictor), layer)}{best}",
            f"{row.auc:.3f}",
            f"{row.fpr_at_tpr:.3f}",
            f"{row.tpr_at_fpr_01:.3f}",
            rule,
        )
    return table


def _caption(subject: Subject, known: Facts) -> str:
    epoch = subject.prediction_epoch
    when = (
        "the loss never fell enough: judged at the last epoch"
        if epoch is None
        else f"judged at epoch {epoch:g}"
    )
    noisy = (
        "no noisy labels"
        if known.noisy_in_top is None
        else f"{known.noisy_in_top:.0%} of noisy labels memorized"
    )
    if known.canaries_in_top is not None:
        noisy += f", {known.canaries_in_top:.0%} of canaries"
    return (
        f"{subject.study.shadows.models} models; accuracy: train {known.train_accuracy:.3f}, "
        f"test {known.test_accuracy:.3f}; {noisy}; {when}. "
        "¹ at the first point with TPR > .75. ² at FPR .01. ³ FPR and TPR of the rule that needs no tuning."
    )


def comparison_table(rules: "pd.DataFrame") -> Table:
    """PSMI's default rule, study beside study, with what was published where the study is one of the paper's.

    Args:
        rules: the rows of `analysis.comparison.default_rules`.
    """
    table = Table(title="PSMI < 0 in the last layer", caption=f"published: {SOURCE}")
    table.add_column("Study", no_wrap=True)
    for heading in ("Epoch", "FPR", "TPR", "Published epoch", "Published FPR", "Published TPR"):
        table.add_column(heading, justify="right")
    for row in rules.itertuples():
        measured = (row.epoch, row.fpr, row.tpr)
        published = (row.published_epoch, row.published_fpr, row.published_tpr)
        table.add_row(str(row.name), *(_rounded(value) for value in (*measured, *published)))
    return table


def _rounded(value: Any) -> str:
    return "" if value != value else f"{value:.3g}"  # noqa: PLR0124 - nan
