"""The figures of a study, one entry each: how it is drawn and what the report says of it.

To add a figure, write a function from a `Subject` to a plotly Figure here, add one entry to STUDY_FIGURES and its line,
with what it is made from, to `graph`; the asset, its place in the report and its pictures follow. What does not belong
here: the drawing itself (`figures`), the SQL behind it (`analysis.frames`), Dagster. Code locations load this file, so
imports stay inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memo_assets.graph import steps

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from memo_assets.analysis.frames import Subject
    from memo_assets.config import Study


@dataclass(frozen=True)
class StudyFigure:
    """One figure of a study.

    Attributes:
        name: name of its asset, beginning with `figure_`.
        draw: from the audited model to the figure.
        description: one sentence for the asset catalog.
        heading: its heading in the report.
        text: what the report says below the heading.
    """

    name: str
    draw: Callable[["Subject"], "go.Figure"]
    description: str
    heading: str
    text: str


def _when(subject: "Subject") -> str:
    from memo_assets.figures.epoch_axis import epoch_text

    epoch = epoch_text(subject.judged_epoch)
    if subject.prediction_epoch is None:
        return f"at epoch {epoch} (the loss never fell enough for a prediction epoch)"
    return f"at epoch {epoch}, the prediction epoch"


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
    from memo_assets.analysis.frames import label_scores
    from memo_assets.figures.attacks import score_label
    from memo_assets.figures.lira_histogram import log_lira_histogram

    labels = subject.study.labels
    title = f"{subject.study.title}: memorization while the model trains"
    return log_lira_histogram(
        label_scores(subject),
        title=title,
        quantile=labels.quantile,
        eta=labels.eta,
        score=score_label(labels.attack),
    )


def _dynamics(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import best_test_epoch, dynamics
    from memo_assets.figures.dynamics import dynamics as draw

    return draw(
        dynamics(subject),
        title=f"{subject.study.title}: what becomes of samples with PSMI < 0",
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


def _by_share(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_share
    from memo_assets.figures.sweeps import fpr_by_share as draw

    title = f"{subject.study.title}: FPR by the share called memorized"
    share = subject.memorized_share
    return draw(fpr_by_share(subject), title=title, when=_when(subject), chosen=share, tpr=TPR_OBJECTIVE)


def _by_label_epoch(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_label_epoch
    from memo_assets.figures.sweeps import fpr_by_label_epoch as draw

    title = f"{subject.study.title}: FPR by the epoch of the labels"
    points = fpr_by_label_epoch(subject)
    return draw(
        points, title=title, when=_when(subject), prediction_epoch=subject.prediction_epoch, tpr=TPR_OBJECTIVE
    )


def _by_objective(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_objective
    from memo_assets.figures.sweeps import fpr_by_objective as draw

    title = f"{subject.study.title}: FPR by how many must be found"
    return draw(fpr_by_objective(subject), title=title, when=_when(subject), chosen=TPR_OBJECTIVE)


def _weight_norms(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import weight_norms
    from memo_assets.figures.weights import weight_norms_over_epochs

    matrix = "Scaled LoRA updates" if subject.study.is_language else "Weights"
    title = f"{subject.study.title}: how far the weights go"
    epoch = subject.prediction_epoch
    return weight_norms_over_epochs(weight_norms(subject), title=title, matrix=matrix, prediction_epoch=epoch)


def _population(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.frames import population_ranks
    from memo_assets.figures.population import rank_scatter

    title = f"{subject.study.title}: two measures of average vulnerability at the last epoch"
    return rank_scatter(population_ranks(subject), title=title)


def _attacks(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.stability import attack_agreement
    from memo_assets.figures.attacks import attack_agreement as draw

    title = f"{subject.study.title}: do other attacks find the same samples"
    return draw(attack_agreement(subject), title=title, own=subject.study.labels.attack)


def _label_stability(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.stability import advice, stability_points
    from memo_assets.figures.label_stability import label_stability as draw
    from memo_assets.measures.stability import ENOUGH

    points, title = stability_points(subject), f"{subject.study.title}: are there shadow models enough"
    return draw(points, title=title, advice=advice(points, subject.study.shadows.models - 1), enough=ENOUGH)


def _roc_by_eta(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.sweeps import roc_by_eta, rule_by_eta
    from memo_assets.figures.over_eta import roc_by_eta as draw

    title = f"{subject.study.title}: ROC by the log-LiRA called memorized"
    return draw(roc_by_eta(subject), title=title, when=_when(subject), default_rules=rule_by_eta(subject))


def _auc_by_eta(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.sweeps import auc_by_eta
    from memo_assets.figures.over_eta import auc_over_eta

    labels, title = subject.study.labels, f"{subject.study.title}: AUC by the log-LiRA called memorized"
    chosen = None if labels.attack.endswith("rmia") else labels.eta
    return auc_over_eta(auc_by_eta(subject), title=title, when=_when(subject), chosen=chosen)


def _canaries(subject: "Subject") -> "go.Figure":
    from memo_assets.analysis.canaries import told_by_predictors, told_by_the_attack
    from memo_assets.figures.canaries import canary_roc

    title = f"{subject.study.title}: canaries"
    return canary_roc(told_by_predictors(subject), told_by_the_attack(subject), title=title)


# In the order of the report.
STUDY_FIGURES: tuple[StudyFigure, ...] = (
    StudyFigure(
        name="figure_roc",
        draw=_roc,
        description="ROC curves of the predictors at the prediction epoch.",
        heading="How well each predictor tells memorized samples from the others",
        text="Further up and left is better; the diagonal is chance. Early log-LiRA, where all models "
        "have this checkpoint, is the attack itself; it needs them all and is drawn for comparison.",
    ),
    StudyFigure(
        name="figure_over_epochs",
        draw=_over_epochs,
        description="False positive rate of the predictors against the prediction epoch.",
        heading="How early the prediction works",
        text="Share of false alarms when three quarters of the memorized samples are found, by the checkpoint"
        " at which one predicts. Lower is better.",
    ),
    StudyFigure(
        name="figure_layers",
        draw=_layers,
        description="False positive rate of the per-layer predictors, layer by layer.",
        heading="Which layer tells most",
        text="The same share of false alarms, layer by layer, at the prediction epoch.",
    ),
    StudyFigure(
        name="figure_dynamics",
        draw=_dynamics,
        description="PSMI, log-LiRA and loss over epochs, for samples predicted safe and at risk.",
        heading="What becomes of the samples predicted at risk",
        text="Medians and quartiles of both groups, as told apart at the prediction epoch, while training goes on.",
    ),
    StudyFigure(
        name="figure_log_lira",
        draw=_log_lira,
        description="How the memorization score spreads while the model trains.",
        heading="How memorization grows",
        text="Memorization score of the training samples by checkpoint; right of the line lies what is called "
        "memorized.",
    ),
    StudyFigure(
        name="figure_training",
        draw=_training,
        description="Loss and accuracy over epochs, train and test.",
        heading="Loss and accuracy",
        text="The audited model on its training samples and on test samples it never saw.",
    ),
    StudyFigure(
        name="figure_weight_norms",
        draw=_weight_norms,
        description="Norms of the trained weights and their distances from step 0 over epochs.",
        heading="How far the weights go",
        text="Norms of what the audited model has learned, all modules together. Growth that goes on when the loss is "
        "low is spent on single samples.",
    ),
    StudyFigure(
        name="figure_by_share",
        draw=_by_share,
        description="False positive rate of the predictors against the share of samples called memorized.",
        heading="How much is called memorized",
        text="Labels are drawn anew for each share of the samples with the highest score; the prediction stays.",
    ),
    StudyFigure(
        name="figure_by_label_epoch",
        draw=_by_label_epoch,
        description="False positive rate of the predictors against the checkpoint whose labels are predicted.",
        heading="Which epoch's memorization is predicted",
        text="The prediction is made once; it is judged by the labels of every checkpoint. At the prediction epoch itself "
        "early log-LiRA, if it is drawn, is the score that the labels are made of: its share of false alarms is 0 there.",
    ),
    StudyFigure(
        name="figure_by_objective",
        draw=_by_objective,
        description="False positive rate of the predictors against the share of memorized samples to be found.",
        heading="What finding more of them costs",
        text="Share of false alarms when at least this share of the memorized samples is found.",
    ),
    StudyFigure(
        name="figure_population",
        draw=_population,
        description="Ranks of counterfactual memorization against ranks of the attack success rate.",
        heading="Average vulnerability, measured in two ways",
        text="Each point is a sample of the pool, ranked over all models at the last checkpoint.",
    ),
    StudyFigure(
        name="figure_attacks",
        draw=_attacks,
        description="Agreement of other membership attacks with the study's labels.",
        heading="Whether other attacks find the same samples",
        text="Every attack reads the same models. Found again: the share of the study's memorized samples that are also "
        "among as many with the attack's own highest scores.",
    ),
    StudyFigure(
        name="figure_label_stability",
        draw=_label_stability,
        description="Agreement of labels from fewer shadow models against their number.",
        heading="Whether there are shadow models enough",
        text="Solid lines compare labels of two sets of models that have none in common; dotted ones compare a set with "
        "all models, its own among them. Medians and quartiles over random sets.",
    ),
    StudyFigure(
        name="figure_roc_by_eta",
        draw=_roc_by_eta,
        description="ROC curves of the predictors where log-LiRA of at least 4, 6, 8 or 10 means memorized.",
        heading="How surely a sample must be told to count as memorized",
        text="Labels by a fixed log-LiRA eta, in place of the study's own: the larger eta, the fewer and the surer.",
    ),
    StudyFigure(
        name="figure_auc_by_eta",
        draw=_auc_by_eta,
        description="AUC of the predictors where log-LiRA of at least 1 to 10 means memorized.",
        heading="From eta 1 to 10",
        text="The same labels at more values of eta, and how many samples they call memorized.",
    ),
    StudyFigure(
        name="figure_canaries",
        draw=_canaries,
        description="ROC curves: predictors tell canaries from other samples, the attack tells members from others.",
        heading="Whether canaries stand out",
        text="Left, where canaries are out of distribution: predictors tell them from the other training samples. Right: "
        "leave-one-out LiRA tells the models that were trained on a sample from the others, at the last checkpoint.",
    ),
)


def figures_of(study: "Study") -> list[StudyFigure]:
    """The figures that a study has, in the order of the report.

    Args:
        study: the study.
    """
    return [entry for entry in STUDY_FIGURES if entry.name in steps(study)]
