"""The predictors by name: what each means, which end of it is at risk, whether it has layers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Predictor:
    """One early score of a sample.

    Attributes:
        title: for tables and figures.
        higher_is_riskier: whether samples with large scores are at risk.
        per_layer: whether there is one score per layer.
        meaning: one sentence.
    """

    title: str
    higher_is_riskier: bool
    per_layer: bool
    meaning: str


PREDICTORS: dict[str, Predictor] = {
    "psmi": Predictor(
        "PSMI", False, True, "Pointwise sliced mutual information of hidden state and given label."
    ),
    "psmi_low": Predictor("PSMI 1 %", False, True, "1 % quantile of PSMI over directions."),
    "psmi_high": Predictor("PSMI 99 %", False, True, "99 % quantile of PSMI over directions."),
    "psmi_sd": Predictor("PSMI sd", True, True, "Standard deviation of PSMI over directions."),
    "psmi_slope": Predictor("PSMI slope", False, True, "PSMI minus its value at epoch 0, per epoch."),
    "mahalanobis": Predictor(
        "Mahalanobis", True, True, "Distance of the hidden state from the training samples'."
    ),
    "loss": Predictor("Loss", True, False, "Cross-entropy of the given label."),
    "logit_gap": Predictor("Logit gap", False, False, "Logit of the given label minus the largest other."),
    "calibrated_loss": Predictor("Calibrated loss", True, False, "Loss minus the untrained model's loss."),
    "cumulative_loss": Predictor(
        "Cumulative loss", True, False, "Sum of the losses at all checkpoints so far."
    ),
    "lt_iqr": Predictor("LT-IQR", True, False, "Interquartile range of the losses so far."),
    "el2n": Predictor(
        "EL2N", True, False, "Distance of the option probabilities from the one-hot label, mean so far."
    ),
    "aum": Predictor("AUM", False, False, "Logit gap, mean over the checkpoints so far."),
    "forgetting": Predictor("Forgetting events", True, False, "How often the sample was unlearned so far."),
    "cartography_mean": Predictor("Confidence", False, False, "Mean probability of the given label so far."),
    "cartography_sd": Predictor("Variability", True, False, "Its standard deviation so far."),
    "early_log_lira": Predictor(
        "Early log-LiRA", True, False, "The attack itself at this checkpoint; needs all shadow models."
    ),
    "random": Predictor("Random", True, False, "Uniform noise: what chance gives."),
}
