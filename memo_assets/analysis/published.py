"""Figures published for the five language studies, to be shown beside measured ones and never mixed with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What was published of one study.

    Attributes:
        rule_fpr: FPR of the rule PSMI < 0.
        rule_tpr: TPR of that rule.
        prediction_epoch: first checkpoint with a median training loss fallen by 95 %.
    """

    rule_fpr: float
    rule_tpr: float
    prediction_epoch: float


SOURCE = "Dentan et al., ECAI 2025, arXiv 2409.18858"
PUBLISHED = {
    "ethics_mistral": Published(0.170, 0.851, 0.4),
    "arc_mistral": Published(0.139, 0.860, 0.4),
    "mmlu_mistral": Published(0.150, 0.914, 0.2),
    "mmlu_llama": Published(0.180, 0.917, 0.4),
    "mmlu_gemma": Published(0.125, 0.891, 0.2),
}
