"""The report of one study: one HTML page that holds everything and needs no network.

What belongs here: what the report is made of and what it says. What does not: the page (`page`), how a table
(`report_tables`) or a figure looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from memo_assets.figures.epoch_axis import epoch_text
from memo_assets.figures.page import page_html
from memo_assets.figures.render import Drawing
from memo_assets.figures.report_tables import (
    NONE,
    Table,
    at_risk_table,
    evaluation_table,
    fixed,
    number,
    percent,
    plain_table,
)

ROWS_SHOWN = 15


@dataclass(frozen=True)
class Summary:
    """The numbers at the top of a report. None stands for unknown and is shown as a dash.

    Attributes:
        samples: Training samples of the audited model.
        models: Models of the study, the audited one among them.
        train_accuracy: Accuracy at the last epoch on the training samples' given labels, in [0, 1].
        test_accuracy: Accuracy at the last epoch on the test set, in [0, 1].
        noisy_share: Share of noisy labels among all training samples, in [0, 1].
        noisy_in_top: Share of the noisy samples that are memorized, in [0, 1]; by chance it is memorized_share.
        psmi_auc: AUC of PSMI (last layer) at the prediction epoch.
        psmi_fpr_at_tpr: Its FPR at the first point beyond the TPR objective.
        tpr: The TPR objective.
        prediction_epoch: None if the median training loss never fell far enough.
        last_epoch: Epoch of the last checkpoint.
        memorized_share: Share of samples called memorized, 0.1 for the top 10 %.
    """

    samples: int
    models: int
    train_accuracy: float | None
    test_accuracy: float | None
    noisy_share: float | None
    noisy_in_top: float | None
    psmi_auc: float | None
    psmi_fpr_at_tpr: float | None
    prediction_epoch: float | None
    last_epoch: float
    tpr: float = 0.75
    memorized_share: float = 0.1


@dataclass(frozen=True)
class ReportContent:
    """All that a report shows. Strings are plain text: markup in them is shown, not obeyed.

    Attributes:
        title: Title of the study.
        description: What the study is about; a blank line starts a new paragraph.
        summary: The numbers at the top.
        figures: (title, one sentence on how to read it, figure), in order. The figure's own title is left out.
        training_facts: Any table on the training, one row a checkpoint or a fact; shown as it is.
        evaluation: predictor, layer, auc, fpr_at_tpr, tpr_at_fpr_01; sorted here.
        at_risk: sample_id, given_label, true_label, label_status, psmi, log_lira and, if they may be shown, text
            or image (2-D array); in the order given, most at risk first.
        settings: The study's settings as YAML.
        provenance: Name to value: versions, code versions, date of the run.
        limits: What the report does not show, a sentence each.
    """

    title: str
    description: str
    summary: Summary
    figures: Sequence[tuple[str, str, Drawing]]
    training_facts: pd.DataFrame
    evaluation: pd.DataFrame
    at_risk: pd.DataFrame
    settings: str
    provenance: Mapping[str, str]
    limits: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Tile:
    """One number at the top, its name, and a line that puts it in place."""

    name: str
    value: str
    hint: str


def report_html(content: ReportContent) -> str:
    """The report as one HTML page, about 5 MB; the same content gives the same text.

    Raises:
        ValueError: A table lacks a column; the sentence names table and column.
    """
    return page_html(
        "report.html.j2",
        figures=content.figures,
        kind="Memorization report",
        title=content.title,
        paragraphs=[text.strip() for text in content.description.split("\n\n") if text.strip()],
        headline=headline(content.summary),
        tiles=tiles(content.summary),
        training=_table(content.training_facts, plain_table),
        evaluation=_table(content.evaluation, lambda frame: evaluation_table(frame, content.summary.tpr)),
        at_risk=_table(content.at_risk, at_risk_table),
        rows_shown=ROWS_SHOWN,
        settings=content.settings.strip("\n"),
        provenance=dict(content.provenance),
        limits=list(content.limits),
    )


def headline(summary: Summary) -> str:
    """The result in one or two sentences of plain words."""
    if summary.prediction_epoch is None:
        return (
            f"The median training loss never fell far enough in {epoch_text(summary.last_epoch)} epochs: there is no "
            "prediction epoch, and no early warning to judge. Train longer, or ask for a smaller fall of the loss."
        )
    when = f"At epoch {epoch_text(summary.prediction_epoch)} of {epoch_text(summary.last_epoch)}"
    if summary.psmi_auc is None or summary.psmi_fpr_at_tpr is None:
        return f"{when} the samples at risk can be predicted; how well is unknown without shadow models."
    return (
        f"{when}, PSMI ranks the samples that the finished model memorizes with an AUC of {fixed(summary.psmi_auc)}: "
        f"to find {percent(summary.tpr, 0)} of them, {percent(summary.psmi_fpr_at_tpr)} of the others are flagged as well."
    )


def tiles(summary: Summary) -> list[Tile]:
    """The numbers at the top with their names, in reading order."""
    epoch = NONE if summary.prediction_epoch is None else epoch_text(summary.prediction_epoch)
    top = percent(summary.memorized_share, 0 if summary.memorized_share >= 0.02 else 1)
    noisy = "no noisy labels in this study"
    if summary.noisy_share:
        noisy = f"of the noisy ones ({percent(summary.noisy_share)} of all); by chance {top}"
    return [
        Tile("Training samples", number(summary.samples), "of the audited model"),
        Tile("Models", number(summary.models), "the audited one and its shadows"),
        Tile("Train accuracy", percent(summary.train_accuracy), f"at epoch {epoch_text(summary.last_epoch)}"),
        Tile("Test accuracy", percent(summary.test_accuracy), f"at epoch {epoch_text(summary.last_epoch)}"),
        Tile("Prediction epoch", epoch, f"of {epoch_text(summary.last_epoch)}, when the loss is low"),
        Tile("AUC of PSMI", fixed(summary.psmi_auc), "1 is perfect, 0.5 is chance"),
        Tile(f"FPR at TPR {summary.tpr:g}", percent(summary.psmi_fpr_at_tpr), "false alarms of PSMI"),
        Tile(
            f"Noisy labels in the top {top}",
            percent(summary.noisy_in_top),
            noisy,
        ),
    ]


def _table(frame: pd.DataFrame, make: Callable[[pd.DataFrame], Table]) -> Table | None:
    return None if frame.empty else make(frame)
