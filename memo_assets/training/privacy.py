"""What DP-SGD promises of a recipe: epsilon, by the accountant of Opacus.

What belongs here: from settings to epsilon. What does not: the noisy gradient (`private`).
"""

from memo_assets.config import Dp, Training
from memo_assets.training.schedule import step_size, steps_per_epoch

ASSUMES = "accounted as if batches were drawn by Poisson sampling; here they are shuffled, so it is no proof"


def privacy_of(dp: Dp, recipe: Training, n_train: int) -> dict[str, float | str]:
    """Epsilon of one model's whole training run, for one training sample more or less.

    Every step is taken as one with each sample in it with probability batch / n_train, independently of the others
    (Poisson sampling). Batches are shuffled and cut here, for which no bound as tight is known; the number is what other
    reports of DP-SGD state as well, and holds for the recipe with Poisson batches.

    Args:
        dp: noise, clipping norm and delta.
        recipe: batch size and epochs.
        n_train: training samples of a model.

    Returns:
        epsilon, delta, and `assumes`, the sentence that says so.

    Source: Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", 2019,
    arXiv 1908.10530, as in opacus.accountants.RDPAccountant.
    """
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    steps = recipe.epochs * steps_per_epoch(recipe, n_train)
    accountant.history = [(dp.noise_multiplier, min(1.0, step_size(recipe) / n_train), steps)]
    return {"epsilon": float(accountant.get_epsilon(delta=dp.delta)), "delta": dp.delta, "assumes": ASSUMES}
