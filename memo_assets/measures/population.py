"""Average vulnerability of each sample over all shadow models: what memorization costs the population of models.

Here belong averages over models that no single target is singled out for. The score of one audited model, and the
Gaussians both share, are in `lira.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from memo_assets.measures.lira import both_moments, log_ratio
from memo_assets.measures.shadows import shadow_arrays


def population(gaps: ArrayLike, losses: ArrayLike, in_train: ArrayLike) -> dict[str, np.ndarray]:
    """Measures of population memorization, one value per sample, from all shadow models.

    - `counterfactual`: mean gap of the models trained with the sample minus that of those without it.
    - `simplicity`: the sum of the two means.
    - `attack_success_rate`: share of models whose membership is guessed by N(gap; in) > N(gap; out). The Gaussians
      (population sd) are fitted to all models, the judged one included, as published. Where a group has no spread the
      ratio is undefined and the guess is "not a member".
    - `mean_gap`, `sd_gap`: mean and unbiased standard deviation of the gap over all models.
    - `mean_loss`: mean loss over all models.

    A sample that is in all train sets, or in none, has an empty group: its mean counts as 0 and its sd as 0.1, as
    published.

    Args:
        gaps: [S, N], logit gaps.
        losses: [S, N], answer losses.
        in_train: bool [S, N], whether the model was trained on the sample.

    Returns:
        The six float64 arrays [N] by name, all finite.

    Raises:
        ValueError: on shapes that disagree, a mask that is not boolean, values that are not finite, or fewer than two models.

    Source: Zhang et al., "Counterfactual Memorization in Neural Language Models", NeurIPS 2023, arXiv 2112.12938;
    Carlini et al., IEEE S&P 2022; counterfactual simplicity: Dentan et al., ECAI 2025, arXiv 2409.18858.
    """
    values, member = shadow_arrays(gaps, in_train, name="gaps")
    loss_values, _ = shadow_arrays(losses, in_train, name="losses")
    outside, inside = both_moments(values, member)
    # An undefined ratio is nan, and nan > 0 is False: not a member.
    guessed_in = log_ratio(values, inside, outside) > 0
    return {
        "counterfactual": inside[0] - outside[0],
        "simplicity": inside[0] + outside[0],
        "attack_success_rate": (guessed_in == member).mean(axis=0),
        "mean_gap": values.mean(axis=0, dtype=np.float64),
        "sd_gap": values.std(axis=0, ddof=1, dtype=np.float64),
        "mean_loss": loss_values.mean(axis=0, dtype=np.float64),
    }
