"""The asset checks of a study by name: what each is of, what it asks, and whether a failure stops what is below.

What belongs here: names and words. What does not: the checks themselves (`checks`), the asset definitions.

A check blocks where only something surely broken fails it, and going on would train, run or label on top of that. All
others warn.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.graph import steps

ROWS, PROVENANCE = "rows_in_warehouse", "provenance_agrees"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        asset: name of the asset that it is of.
        name: its own name, unique for the asset.
        description: what it asks, for the web UI.
        blocking: whether a failure is an error that stops what is downstream; else it is a warning.
    """

    asset: str
    name: str
    description: str
    blocking: bool = False

    def key(self, study: Study) -> dg.AssetCheckKey:
        """The key of this check in a study."""
        return dg.AssetCheckKey(asset_key(study, self.asset), self.name)


_TOKENS = (
    "The tokenizer of the base model makes tokens of every sample's options that tell them apart, and the prompt's tokens "
    "are the same whatever the answer."
)
_PROVENANCE = (
    "The table `provenance` names the run, code version, data version and input versions that Dagster recorded last, for "
    "every load of this asset's tables."
)
_ROWS = "The warehouse has as many rows of this study as the Parquet files that they are loaded from."

CHECKS = (
    Check(
        "samples",
        "ids_unique_and_stable",
        "Every sample_id occurs once, is the row of its raw item, and has that item's id, content, label and options.",
        blocking=True,
    ),
    Check("samples", "labels_tokenizable", _TOKENS, blocking=True),
    Check("samples", ROWS, _ROWS),
    Check("samples", PROVENANCE, _PROVENANCE),
    Check(
        "split_masks",
        "masks_balanced",
        "Every model trains on the right number of pool samples, no two on the same, and each sample is in as many models as "
        "chance (or the pairing) gives. Over all models recorded.",
        blocking=True,
    ),
    Check("base_model", "labels_tokenizable", _TOKENS, blocking=True),
    Check("at_risk", ROWS, _ROWS),
    Check("at_risk", PROVENANCE, _PROVENANCE),
    Check(
        "adapters",
        "weights_changed",
        "Weights at the last checkpoint are finite and other than at step 0. Of models recorded since this check last passed.",
        blocking=True,
    ),
    Check(
        "adapters",
        "loss_fell",
        "The mean training loss is lower before the last checkpoint than before the first one. Of models recorded since this "
        "check last passed.",
    ),
    Check(
        "logits",
        "logits_complete",
        "Every sample once at every checkpoint, with finite numbers for all options and queries. Of models recorded since "
        "this check last passed.",
        blocking=True,
    ),
    Check(
        "logits",
        "accuracy_above_chance",
        "Training accuracy is above chance and above that before training. Of models recorded since this check last passed.",
    ),
    Check(
        "layer_scores",
        "psmi_classes_large_enough",
        "Each label is given to enough training samples of the audited models for PSMI to model it.",
    ),
    Check("shadow_logits", ROWS, _ROWS),
    Check("shadow_logits", PROVENANCE, _PROVENANCE),
    Check(
        "memorization",
        "enough_shadows",
        "Each training sample of the audited models has enough other models, trained with it and without it, for its label.",
    ),
    Check(
        "memorization",
        "labels_not_degenerate",
        "Few scores are clipped at +-100, and few are ties.",
    ),
    Check("memorization", ROWS, _ROWS),
    Check("memorization", PROVENANCE, _PROVENANCE),
    Check("label_stability", ROWS, _ROWS),
    Check("label_stability", PROVENANCE, _PROVENANCE),
    Check("memorization_skewness", ROWS, _ROWS),
    Check("memorization_skewness", PROVENANCE, _PROVENANCE),
    Check("variation_summary", ROWS, _ROWS),
    Check("variation_summary", PROVENANCE, _PROVENANCE),
    Check("population_memorization", ROWS, _ROWS),
    Check("population_memorization", PROVENANCE, _PROVENANCE),
    Check("predictor_scores", ROWS, _ROWS),
    Check("predictor_scores", PROVENANCE, _PROVENANCE),
    Check(
        "predictor_evaluation",
        "auc_above_half",
        "PSMI of the last layer, loss and logit gap rank memorized samples above the others at the prediction epoch.",
    ),
    Check("predictor_evaluation", ROWS, _ROWS),
    Check("predictor_evaluation", PROVENANCE, _PROVENANCE),
)


def study_checks(study: Study) -> list[Check]:
    """The checks that a study has: those of its own assets, and of tokens only where there are any.

    Args:
        study: the study.
    """
    there = steps(study)
    return [
        check
        for check in CHECKS
        if check.asset in there and (study.is_language or check.name != "labels_tokenizable")
    ]


def blocking_checks(study: Study, assets: Iterable[str]) -> list[Check]:
    """The checks of some assets of a study that stop what is below.

    Args:
        study: the study.
        assets: names of assets.
    """
    wanted = set(assets)
    return [check for check in study_checks(study) if check.blocking and check.asset in wanted]
