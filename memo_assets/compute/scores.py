"""Hidden states of one checkpoint to per-layer scores."""

import numpy as np
import pandas as pd

from memo_assets.config import Scores
from memo_assets.measures.mahalanobis import mahalanobis
from memo_assets.measures.psmi import psmi
from memo_assets.measures.smi import smi


def layer_scores_at(
    hidden: np.ndarray, labels: np.ndarray, settings: Scores
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every layer of one model at one checkpoint.

    Args:
        hidden: [L, N, d], hidden states of the model's training samples.
        labels: [N], the answers given.
        settings: numbers of directions and components.

    Returns:
        Per sample: layer, psmi, psmi_low, psmi_high, psmi_sd, mahalanobis, layer after layer in sample order.
        Per layer: layer, smi, smi_low, smi_high, in nats.
    """
    samples, layers = [], []
    for layer, states in enumerate(hidden, start=1):
        pointwise = psmi(states, labels, n_directions=settings.psmi_directions)
        sliced = smi(states, labels, n_directions=settings.smi_directions)
        distance = mahalanobis(states, n_components=settings.mahalanobis_components)
        samples.append(
            pd.DataFrame(
                {
                    "layer": np.int16(layer),
                    "psmi": pointwise.mean,
                    "psmi_low": pointwise.low,
                    "psmi_high": pointwise.high,
                    "psmi_sd": pointwise.sd,
                    "mahalanobis": distance,
                }
            )
        )
        layers.append({"layer": layer, "smi": sliced.mean, "smi_low": sliced.low, "smi_high": sliced.high})
    return pd.concat(samples, ignore_index=True), pd.DataFrame(layers)
