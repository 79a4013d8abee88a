"""The figures of a study, one entry each: how it is drawn and what the report says of it.

To add a figure, write a function from a `Subject` to a plotly figure in `study_drawings`, add one entry to STUDY_FIGURES
and its line, with what it is made from, to `graph`; the asset, its place in the report and its pictures follow. What does
not belong here: the drawing (`study_drawings`), Dagster. Code locations load this file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memo_assets import study_drawings as drawings
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


# In the order of the report.
STUDY_FIGURES: tuple[StudyFigure, ...] = (
    StudyFigure(
        name="figure_roc",
        draw=drawings.draw_roc,
        description="ROC curves of the predictors at the prediction epoch.",
        heading="How well each predictor tells memorized samples from the others",
        text="Further up and left is better; the diagonal is chance. Early log-LiRA, where all models "
        "have this checkpoint, is the attack itself; it needs them all and is drawn for comparison.",
    ),
    StudyFigure(
        name="figure_over_epochs",
        draw=drawings.draw_over_epochs,
        description="False positive rate of the predictors against the prediction epoch.",
        heading="How early the prediction works",
        text="Share of false alarms when three quarters of the memorized samples are found, by the checkpoint"
        " at which one predicts. Lower is better.",
    ),
    StudyFigure(
        name="figure_layers",
        draw=drawings.draw_layers,
        description="False positive rate of the per-layer predictors, layer by layer.",
        heading="Which layer tells most",
        text="The same share of false alarms, layer by layer, at the prediction epoch.",
    ),
    StudyFigure(
        name="figure_dynamics",
        draw=drawings.draw_dynamics,
        description="PSMI, log-LiRA and loss over epochs, for samples predicted safe and at risk.",
        heading="What becomes of the samples predicted at risk",
        text="Medians and quartiles of both groups, as told apart at the prediction epoch, while training goes on.",
    ),
    StudyFigure(
        name="figure_log_lira",
        draw=drawings.draw_log_lira,
        description="How the memorization score spreads while the model trains.",
        heading="How memorization grows",
        text="Memorization score of the training samples by checkpoint; right of the line lies what is called "
        "memorized.",
    ),
    StudyFigure(
        name="figure_training",
        draw=drawings.draw_training,
        description="Loss and accuracy over epochs, train and test.",
        heading="Loss and accuracy",
        text="The audited model on its training samples and on test samples it never saw.",
    ),
    StudyFigure(
        name="figure_weight_norms",
        draw=drawings.draw_weight_norms,
        description="Norms of the trained weights and their distances from step 0 over epochs.",
        heading="How far the weights go",
        text="Norms of what the audited model has learned, all modules together. Growth that goes on when the loss is "
        "low is spent on single samples.",
    ),
    StudyFigure(
        name="figure_by_share",
        draw=drawings.draw_by_share,
        description="False positive rate of the predictors against the share of samples called memorized.",
        heading="How much is called memorized",
        text="Labels are drawn anew for each share of the samples with the highest score; the prediction stays.",
    ),
    StudyFigure(
        name="figure_by_label_epoch",
        draw=drawings.draw_by_label_epoch,
        description="False positive rate of the predictors against the checkpoint whose labels are predicted.",
        heading="Which epoch's memorization is predicted",
        text="The prediction is made once; it is judged by the labels of every checkpoint. At the prediction epoch itself "
        "early log-LiRA, if it is drawn, is the score that the labels are made of: its share of false alarms is 0 there.",
    ),
    StudyFigure(
        name="figure_by_objective",
        draw=drawings.draw_by_objective,
        description="False positive rate of the predictors against the share of memorized samples to be found.",
        heading="What finding more of them costs",
        text="Share of false alarms when at least this share of the memorized samples is found.",
    ),
    StudyFigure(
        name="figure_population",
        draw=drawings.draw_population,
        description="Ranks of counterfactual memorization against ranks of the attack success rate.",
        heading="Average vulnerability, measured in two ways",
        text="Each point is a sample of the pool, ranked over all models at the last checkpoint.",
    ),
    StudyFigure(
        name="figure_attacks",
        draw=drawings.draw_attacks,
        description="Agreement of other membership attacks with the study's labels.",
        heading="Whether other attacks find the same samples",
        text="Every attack reads the same models. Found again: the share of the study's memorized samples that are also "
        "among as many with the attack's own highest scores.",
    ),
    StudyFigure(
        name="figure_label_stability",
        draw=drawings.draw_label_stability,
        description="Agreement of labels from fewer shadow models against their number.",
        heading="Whether there are shadow models enough",
        text="Solid lines compare labels of two sets of models that have none in common; dotted ones compare a set with "
        "all models, its own among them. Medians and quartiles over random sets.",
    ),
    StudyFigure(
        name="figure_skewness",
        draw=drawings.draw_skewness,
        description="Skewness of memorization over checkpoints, number of samples and similarity to other samples.",
        heading="Whether few samples are memorized far more than the others",
        text="Skewness of the memorization score with bootstrap intervals. Middle: random parts of the training samples, "
        "scored by the same models; nothing was trained anew on fewer. Right: groups by similarity to the nearest other "
        "sample. Middle and right are of the last checkpoint.",
    ),
    StudyFigure(
        name="figure_roc_by_eta",
        draw=drawings.draw_roc_by_eta,
        description="ROC curves of the predictors where log-LiRA of at least 4, 6, 8 or 10 means memorized.",
        heading="How surely a sample must be told to count as memorized",
        text="Labels by a fixed log-LiRA eta, in place of the study's own: the larger eta, the fewer and the surer.",
    ),
    StudyFigure(
        name="figure_auc_by_eta",
        draw=drawings.draw_auc_by_eta,
        description="AUC of the predictors where log-LiRA of at least 1 to 10 means memorized.",
        heading="From eta 1 to 10",
        text="The same labels at more values of eta, and how many samples they call memorized.",
    ),
    StudyFigure(
        name="figure_answer_variation",
        draw=drawings.draw_answer_variation,
        description="Accuracy of the audited model on memorized and other training questions, before and after the right "
        "option's text is replaced.",
        heading="Whether answers survive when the right option says something else",
        text="The right option's text becomes 'None of the other answers'; letters and order stay. Questions whose given label "
        "is wrong, or whose options speak of each other, are left out. Bars are 95 % intervals (Clopper-Pearson).",
    ),
    StudyFigure(
        name="figure_canaries",
        draw=drawings.draw_canaries,
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
