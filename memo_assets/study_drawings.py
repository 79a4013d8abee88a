"""How each figure of a study is drawn: one function from an audited model to a plotly figure.

What belongs here: which frame goes into which drawing, and under which title. What does not: what the report says of a
figure (`study_figures`), the drawing itself (`figures`), the SQL behind it (`analysis`). Code locations load this file, so
imports stay inside functions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from memo_assets.analysis.frames import Subject


def _when(subject: "Subject") -> str:
    from memo_assets.figures.epoch_axis import epoch_text

    epoch = epoch_text(subject.judged_epoch)
    if subject.prediction_epoch is None:
        return f"at epoch {epoch} (the loss never fell enough for a prediction epoch)"
    return f"at epoch {epoch}, the prediction epoch"


def draw_roc(subject: "Subject") -> "go.Figure":
    """ROC curves at the judged epoch."""
    from memo_assets.analysis.evaluation import roc_curves
    from memo_assets.analysis.frames import SHOWN, default_rule
    from memo_assets.figures.roc import roc_predictors

    curves = roc_curves(
        subject.connection, subject.study.name, subject.target, epoch=subject.judged_epoch, predictors=SHOWN
    )
    curves["layer"] = curves["layer"].where(curves["layer"] > 0)
    title = f"{subject.study.title}: ROC of the predictors {_when(subject)}"
    return roc_predictors(curves, title=title, default_rule=default_rule(subject))


def draw_log_lira(subject: "Subject") -> "go.Figure":
    """Histograms of the memorization score."""
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


def draw_dynamics(subject: "Subject") -> "go.Figure":
    """Quantities over epochs, by what was predicted."""
    from memo_assets.analysis.frames import best_test_epoch, dynamics
    from memo_assets.figures.dynamics import dynamics as draw

    return draw(
        dynamics(subject),
        title=f"{subject.study.title}: what becomes of samples with PSMI < 0",
        low_loss_epoch=subject.prediction_epoch,
        best_test_epoch=best_test_epoch(subject),
    )


def draw_training(subject: "Subject") -> "go.Figure":
    """Loss and accuracy."""
    from memo_assets.analysis.frames import training_curves
    from memo_assets.figures.training_curves import loss_and_accuracy

    title = f"{subject.study.title}: loss and accuracy of the audited model"
    return loss_and_accuracy(training_curves(subject), title=title, prediction_epoch=subject.prediction_epoch)


def draw_layers(subject: "Subject") -> "go.Figure":
    """FPR by layer."""
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.frames import fpr_by_layer
    from memo_assets.figures.layers import fpr_by_layer as draw

    points, loss = fpr_by_layer(subject)
    title = f"{subject.study.title}: which layer tells most {_when(subject)}"
    return draw(points, title=title, loss_fpr=loss, tpr=TPR_OBJECTIVE)


def draw_over_epochs(subject: "Subject") -> "go.Figure":
    """FPR by the epoch of the prediction."""
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


def draw_by_share(subject: "Subject") -> "go.Figure":
    """FPR by the share called memorized."""
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_share
    from memo_assets.figures.sweeps import fpr_by_share as draw

    title = f"{subject.study.title}: FPR by the share called memorized"
    share = subject.memorized_share
    return draw(fpr_by_share(subject), title=title, when=_when(subject), chosen=share, tpr=TPR_OBJECTIVE)


def draw_by_label_epoch(subject: "Subject") -> "go.Figure":
    """FPR by the epoch of the labels."""
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_label_epoch
    from memo_assets.figures.sweeps import fpr_by_label_epoch as draw

    title = f"{subject.study.title}: FPR by the epoch of the labels"
    points = fpr_by_label_epoch(subject)
    return draw(
        points, title=title, when=_when(subject), prediction_epoch=subject.prediction_epoch, tpr=TPR_OBJECTIVE
    )


def draw_by_objective(subject: "Subject") -> "go.Figure":
    """FPR by the share that must be found."""
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.sweeps import fpr_by_objective
    from memo_assets.figures.sweeps import fpr_by_objective as draw

    title = f"{subject.study.title}: FPR by how many must be found"
    return draw(fpr_by_objective(subject), title=title, when=_when(subject), chosen=TPR_OBJECTIVE)


def draw_weight_norms(subject: "Subject") -> "go.Figure":
    """Norms of the trained weights."""
    from memo_assets.analysis.frames import weight_norms
    from memo_assets.figures.weights import weight_norms_over_epochs

    matrix = "Scaled LoRA updates" if subject.study.is_language else "Weights"
    title = f"{subject.study.title}: how far the weights go"
    epoch = subject.prediction_epoch
    return weight_norms_over_epochs(weight_norms(subject), title=title, matrix=matrix, prediction_epoch=epoch)


def draw_population(subject: "Subject") -> "go.Figure":
    """Ranks of two population measures."""
    from memo_assets.analysis.frames import population_ranks
    from memo_assets.figures.population import rank_scatter

    title = f"{subject.study.title}: two measures of average vulnerability at the last epoch"
    return rank_scatter(population_ranks(subject), title=title)


def draw_attacks(subject: "Subject") -> "go.Figure":
    """Agreement of other attacks."""
    from memo_assets.analysis.stability import attack_agreement
    from memo_assets.figures.attacks import attack_agreement as draw

    title = f"{subject.study.title}: do other attacks find the same samples"
    return draw(attack_agreement(subject), title=title, own=subject.study.labels.attack)


def draw_label_stability(subject: "Subject") -> "go.Figure":
    """Agreement of labels from fewer models."""
    from memo_assets.analysis.stability import advice, stability_points
    from memo_assets.figures.label_stability import label_stability as draw
    from memo_assets.measures.stability import ENOUGH

    points, title = stability_points(subject), f"{subject.study.title}: are there shadow models enough"
    return draw(points, title=title, advice=advice(points, subject.study.shadows.models - 1), enough=ENOUGH)


def draw_skewness(subject: "Subject") -> "go.Figure":
    """Skewness of memorization."""
    from memo_assets.analysis.skewness import skewness_points
    from memo_assets.figures.skewness import skewness_panels

    title = f"{subject.study.title}: how skewed is memorization"
    return skewness_panels(skewness_points(subject), title=title)


def draw_roc_by_eta(subject: "Subject") -> "go.Figure":
    """ROC curves at several thresholds of log-LiRA."""
    from memo_assets.analysis.sweeps import roc_by_eta, rule_by_eta
    from memo_assets.figures.over_eta import roc_by_eta as draw

    title = f"{subject.study.title}: ROC by the log-LiRA called memorized"
    return draw(roc_by_eta(subject), title=title, when=_when(subject), default_rules=rule_by_eta(subject))


def draw_auc_by_eta(subject: "Subject") -> "go.Figure":
    """AUC by the threshold of log-LiRA."""
    from memo_assets.analysis.sweeps import auc_by_eta
    from memo_assets.figures.over_eta import auc_over_eta

    labels, title = subject.study.labels, f"{subject.study.title}: AUC by the log-LiRA called memorized"
    chosen = None if labels.attack.endswith("rmia") else labels.eta
    return auc_over_eta(auc_by_eta(subject), title=title, when=_when(subject), chosen=chosen)


def draw_answer_variation(subject: "Subject") -> "go.Figure":
    """Accuracy before and after questions are varied."""
    from memo_assets.analysis.variation import drop_in_words, variation_rates
    from memo_assets.figures.answer_variation import answer_variation

    rates, title = (
        variation_rates(subject),
        f"{subject.study.title}: answers when the right option says something else",
    )
    return answer_variation(rates, title=title, note=drop_in_words(rates))


def draw_canaries(subject: "Subject") -> "go.Figure":
    """ROC curves of canaries."""
    from memo_assets.analysis.canaries import told_by_predictors, told_by_the_attack
    from memo_assets.figures.canaries import canary_roc

    title = f"{subject.study.title}: canaries"
    return canary_roc(told_by_predictors(subject), told_by_the_attack(subject), title=title)
