"""Scores of every training sample at the prediction epoch.

What belongs here: from what a run gave to one row a sample. What does not: the measures themselves (`measures`).
"""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import softmax

from memo_assets.compute.scores import psmi_where_shared
from memo_assets.measures import trajectory
from memo_assets.measures.label_errors import suspected_labels
from memo_assets.measures.lira import logit_gap
from memo_assets.measures.mahalanobis import mahalanobis
from memo_assets.training.early_run import EarlyRun


def score_samples(
    run: EarlyRun, given_label: np.ndarray, given_index: np.ndarray, *, directions: int | Literal["auto"]
) -> pd.DataFrame:
    """Every score of every training sample at the prediction epoch, in the order of the run's samples.

    Args:
        run: what the run gave.
        given_label: [N], the labels trained on; the classes of PSMI.
        given_index: int [N], their places among each sample's options.
        directions: of PSMI.

    Returns:
        One row a sample: psmi, psmi_low, psmi_high, psmi_sd (nan for a sample that alone bears its label), flagged (bool: PSMI
        below 0), then loss, logit_gap, mahalanobis and the scores of the trajectory, and suspected_index (-1: none).

    Raises:
        ValueError: fewer than two labels that two samples bear.
    """
    logits, labels = run.option_logits, given_index
    found = psmi_where_shared(run.hidden, given_label, n_directions=directions)
    confidence, variability = trajectory.cartography(logits, labels)
    table = pd.DataFrame(
        {
            "psmi": found.mean,
            "psmi_low": found.low,
            "psmi_high": found.high,
            "psmi_sd": found.sd,
            "loss": run.losses[-1].astype(np.float64),
            "logit_gap": logit_gap(logits[-1], labels),
            "mahalanobis": mahalanobis(run.hidden),
            "calibrated_loss": trajectory.calibrated_loss(run.losses)[-1],
            "cumulative_loss": trajectory.cumulative_loss(run.losses)[-1],
            "lt_iqr": trajectory.lt_iqr(run.losses)[-1],
            "el2n": trajectory.el2n(logits, labels)[-1],
            "aum": trajectory.aum(logits, labels)[-1],
            "forgetting": trajectory.forgetting(logits, labels)[-1],
            "cartography_mean": confidence[-1],
            "cartography_sd": variability[-1],
            "suspected_index": suspected_labels(softmax(logits[-1].astype(np.float64), axis=1), labels),
        }
    )
    table.insert(0, "flagged", (table["psmi"] < 0).to_numpy())
    return table
