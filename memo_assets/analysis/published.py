"""Figures published for the five language studies, to be shown beside measured ones and never mixed with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What was published of one study.

    Attributes:
        rule_fpr: FPR of the rule PSMI < 0.
        rule_tpr: TPR of that rule.
        prediction_epoch: first checkpoint with a median training loss fallen by 95 %.
        best_layer: layer, counted from 1, whose PSMI has the lowest FPR at a TPR of .75.
    """

    rule_fpr: float
    rule_tpr: float
    prediction_epoch: float
    best_layer: int


SOURCE = "Dentan et al., ECAI 2025, arXiv 2409.18858"
PUBLISHED = {
    "ethics_mistral": Published(0.170, 0.851, 0.4, 32),
    "arc_mistral": Published(0.139, 0.860, 0.4, 29),
    "mmlu_mistral": Published(0.150, 0.914, 0.2, 23),
    "mmlu_llama": Published(0.180, 0.917, 0.4, 20),
    "mmlu_gemma": Published(0.125, 0.891, 0.2, 21),
}
# FPR at a TPR of .75 at the prediction epoch, mean over the five studies.
PUBLISHED_MEAN_FPR = {"psmi": 0.073, "loss": 0.083, "logit_gap": 0.093}
