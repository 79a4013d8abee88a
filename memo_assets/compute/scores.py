"""Hidden states of one checkpoint to per-layer scores."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from memo_assets.config import Scores
from memo_assets.measures.mahalanobis import mahalanobis
from memo_assets.measures.psmi import Psmi, psmi, psmi_of_layers
from memo_assets.measures.smi import smi


def layer_scores_at(
    hidden: Sequence[np.ndarray], labels: np.ndarray, settings: Scores
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every layer of one model at one checkpoint.

    A sample that alone bears its label has no class to be compared with: its PSMI is nan, and the others are scored
    without it.

    Args:
        hidden: of each layer [N, d], hidden states of the model's training samples.
        labels: [N], the answers given.
        settings: the layers, numbers of directions and components.

    Returns:
        Per sample: layer, psmi, psmi_low, psmi_high, psmi_sd, mahalanobis, layer after layer in sample order.
        Per layer: layer, smi, smi_low, smi_high, in nats, and psmi_directions, the number used.

    Raises:
        ValueError: a layer that the model does not have, or one that is named twice.
    """
    samples, layers = [], []
    shared = shares_its_label(labels)
    chosen = chosen_layers(settings.layers, len(hidden))
    scored = psmi_of_layers(
        (hidden[layer - 1][shared] for layer in chosen),
        labels[shared],
        n_directions=settings.psmi_directions,
    )
    for layer, pointwise in zip(chosen, scored, strict=True):
        states = hidden[layer - 1]
        sliced = smi(states[shared], labels[shared], n_directions=settings.smi_directions)
        distance = mahalanobis(states, n_components=settings.mahalanobis_components)
        samples.append(
            pd.DataFrame(
                {
                    "layer": np.int16(layer),
                    "psmi": at_places(shared, pointwise.mean),
                    "psmi_low": at_places(shared, pointwise.low),
                    "psmi_high": at_places(shared, pointwise.high),
                    "psmi_sd": at_places(shared, pointwise.sd),
                    "mahalanobis": distance,
                }
            )
        )
        layers.append(
            {
                "layer": layer,
                "smi": sliced.mean,
                "smi_low": sliced.low,
                "smi_high": sliced.high,
                "psmi_directions": float(pointwise.n_directions),
            }
        )
    return pd.concat(samples, ignore_index=True), pd.DataFrame(layers)


def shares_its_label(labels: np.ndarray) -> np.ndarray:
    """Bool [N], whether another sample bears the same label."""
    _, index, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    return counts[index] > 1


def psmi_where_shared(
    hidden: np.ndarray, labels: np.ndarray, *, n_directions: int | Literal["auto"], seed: int = 0
) -> Psmi:
    """PSMI of all samples but those that alone bear their label, which are nan and do not count for the others.

    Args:
        hidden: [N, d], hidden states of one layer.
        labels: [N], the answers given.
        n_directions: as in `psmi`.
        seed: of the directions.

    Raises:
        ValueError: as in `psmi`.
    """
    shared = shares_its_label(labels)
    found = psmi(hidden[shared], labels[shared], n_directions=n_directions, seed=seed)
    mean, low, high, sd = (
        at_places(shared, values) for values in (found.mean, found.low, found.high, found.sd)
    )
    return Psmi(mean, low, high, sd, found.n_directions)


def at_places(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at the places that are true, nan elsewhere."""
    out = np.full(len(places), np.nan)
    out[places] = values
    return out


def chosen_layers(wanted: Literal["all"] | list[int], n_layers: int) -> list[int]:
    """Layers counted from 1, in rising order.

    Args:
        wanted: all, or layers counted from 1; negative ones from the last, which is -1.
        n_layers: how many the model has.

    Raises:
        ValueError: a layer that the model does not have, or one that is named twice.
    """
    if wanted == "all":
        return list(range(1, n_layers + 1))
    layers = [layer + n_layers + 1 if layer < 0 else layer for layer in wanted]
    wrong = [given for given, layer in zip(wanted, layers, strict=True) if not 1 <= layer <= n_layers]
    if wrong:
        raise ValueError(
            f"scores.layers: given {wrong}; the model has the layers 1 to {n_layers}, or -{n_layers} to -1 counted from "
            "the last"
        )
    if len(set(layers)) < len(layers):
        raise ValueError(f"scores.layers: {wanted} names a layer twice")
    return sorted(layers)
