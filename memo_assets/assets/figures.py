"""Figures of a study: computed together, since they share one browser start for the PNGs."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from memo_assets.assets.spec import asset_options
from memo_assets.config import Study
from memo_assets.graph import FIGURES
from memo_assets.store.layout import Layout

INLINE_WIDTH = 1000

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from memo_assets.analysis.frames import Subject


def build(study: Study) -> list[dg.AssetsDefinition]:
    """The figure assets, each of which can be materialized alone.

    Args:
        study: the study.
    """
    specs = [dg.AssetSpec(**asset_options(study, name), skippable=True) for name in FIGURES]

    @dg.multi_asset(name=f"{study.name}__figures", specs=specs, can_subset=True)
    def figures(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from memo_assets.analysis.frames import Subject
        from memo_assets.figures.render import BrowserMissing, figure_html, png_bytes
        from memo_assets.store.files import content_hash, write_bytes, write_text
        from memo_assets.store.tables import reading

        layout = Layout.of(study.name)
        wanted = [name for name in FIGURES if dg.AssetKey([study.name, name]) in context.selected_asset_keys]
        with reading() as connection:
            subject = Subject(connection, study, study.shadows.audited[0])
            drawn = {name: _DRAW[name](subject) for name in wanted}
        pictures: dict[str, bytes] = {}
        try:
            pictures = dict(zip(wanted, png_bytes(list(drawn.values())), strict=True))
        except BrowserMissing as error:
            context.log.warning(f"no PNG pictures, HTML only: {error}")
        for name, figure in drawn.items():
            write_text(layout.figure(name, "json"), str(figure.to_json()))
            write_text(layout.figure(name, "html"), figure_html(figure))
            metadata: dict = {"page": dg.MetadataValue.path(layout.figure(name, "html"))}
            layout.figure(name, "png").unlink(missing_ok=True)
            if name in pictures:
                write_bytes(layout.figure(name, "png"), pictures[name])
                metadata["picture"] = dg.MetadataValue.md(_inline(pictures[name], name))
            version = content_hash(layout.figure(name, "json"))
            key = dg.AssetKey([study.name, name])
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))

    return [figures]


def _inline(png: bytes, name: str) -> str:
    """Markdown that shows a picture at the size of the web UI's dialog."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    picture.thumbnail((INLINE_WIDTH, INLINE_WIDTH), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    picture.save(small, "PNG")
    return f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})"


def _when(subject: "Subject") -> str:
    if subject.prediction_epoch is None:
        return f"at epoch {subject.judged_epoch:g} (the loss never fell enough for a prediction epoch)"
    return f"at epoch {subject.judged_epoch:g}, the prediction epoch"


def _roc(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import roc_curves
    from memo_assets.analysis.frames import SHOWN, default_rule
    from memo_assets.figures.roc import roc_predictors

    curves = roc_curves(
        subject.connection, subject.study.name, subject.target, epoch=subject.judged_epoch, predictors=SHOWN
    )
    curves["layer"] = curves["layer"].where(curves["layer"] > 0)
    title = f"{subject.study.title}: ROC of the predictors {_when(subject)}"
    return roc_predictors(curves, title=title, default_rule=default_rule(subject))


def _log_lira(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import log_lira
    from memo_assets.figures.lira_histogram import log_lira_histogram

    title = f"{subject.study.title}: memorization while the model trains"
    return log_lira_histogram(log_lira(subject), title=title, quantile=subject.study.labels.quantile)


def _dynamics(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import best_test_epoch, dynamics
    from memo_assets.figures.dynamics import dynamics as draw

    return draw(
        dynamics(subject),
        title=f"{subject.study.title}: what becomes of samples with PSMI < 0 {_when(subject)}",
        low_loss_epoch=subject.prediction_epoch,
        best_test_epoch=best_test_epoch(subject),
    )


def _training(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import training_curves
    from memo_assets.figures.training_curves import loss_and_accuracy

    title = f"{subject.study.title}: loss and accuracy of the audited model"
    return loss_and_accuracy(training_curves(subject), title=title, prediction_epoch=subject.prediction_epoch)


def _layers(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.frames import fpr_by_layer
    from memo_assets.figures.layers import fpr_by_layer as draw

    points, loss = fpr_by_layer(subject)
    title = f"{subject.study.title}: which layer tells most {_when(subject)}"
    return draw(points, title=title, loss_fpr=loss, tpr=TPR_OBJECTIVE)


def _over_epochs(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.frames import fpr_over_epochs, median_train_losses
    from memo_assets.figures.over_epochs import fpr_over_epochs as draw

    return draw(
        fpr_over_epochs(subject),
        median_train_losses(subject),
        title=f"{subject.study.title}: how early can memorization be predicted",
        prediction_epoch=subject.prediction_epoch,
        tpr=TPR_OBJECTIVE,
    )


_DRAW: dict[str, Callable[["Subject"], "go.Figure"]] = {
    "figure_roc": _roc,
    "figure_log_lira": _log_lira,
    "figure_dynamics": _dynamics,
    "figure_training": _training,
    "figure_layers": _layers,
    "figure_over_epochs": _over_epochs,
}
