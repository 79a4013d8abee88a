"""What is drawn once per sample: label noise and the prompt template.

Here belong the seeded draws over samples, in the order of samples. They reproduce the published study bit for bit.
Draws of positions (pool, test, splits) are in `splits.py`, the templates' texts with the prompts. Imports numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from memo_assets.data.splits import random_state


def noisy_labels(
    true_index: ArrayLike, n_options: ArrayLike, noise: float, data_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a share of the labels by random options.

    Sample after sample, u is drawn uniformly from [0, 1); if u <= noise the label becomes an option drawn uniformly,
    which can be the true one. With noise 0 every label stays.

    Args:
        true_index: int [N], index of the true option.
        n_options: int [N], how many options each sample has, at least 1.
        noise: share of labels to redraw, in [0, 1].
        data_seed: 0 .. 2**32 - 1.

    Returns:
        (given_index int64 [N], is_random bool [N]): the label to train on, and whether it was redrawn.

    Raises:
        ValueError: on shapes that disagree, values that are not whole, no option, a true index outside the options, noise
            outside [0, 1], or a bad seed.

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858, and its public code.
    """
    given = _whole_numbers(true_index, "true_index").copy()
    options = _whole_numbers(n_options, "n_options")
    if given.shape != options.shape:
        raise ValueError(
            f"true_index has shape {given.shape}, n_options {options.shape}: give one of each per sample."
        )
    _refuse(options < 1, options, "n_options", "a sample needs at least one option")
    _refuse((given < 0) | (given >= options), given, "true_index", "it must lie in 0 .. n_options - 1")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is {noise}: give the share of labels to redraw, from 0 to 1.")
    rng = random_state(data_seed, name="data_seed")
    is_random = np.zeros(len(given), dtype=bool)
    if noise == 0:  # u can be exactly 0
        return given, is_random
    # One at a time: how much of the stream a sample uses depends on the draws before it (20 ms for 30,000 samples).
    for sample, options_of_sample in enumerate(options.tolist()):
        if rng.random() <= noise:
            is_random[sample] = True
            given[sample] = rng.randint(0, options_of_sample)
    return given, is_random


def template_index(n: int, n_templates: int | ArrayLike, data_seed: int) -> np.ndarray:
    """Draw the prompt template of each sample.

    Samples need not choose from equally many templates. In the published study multiple-choice questions have 10; of
    ETHICS, posts that open with "AITA" or "WIBTA" have 5 of their own and all other samples 10.

    Args:
        n: number of samples.
        n_templates: how many templates there are to choose from: one number, or int [n].
        data_seed: 0 .. 2**32 - 1.

    Returns:
        int64 [n], each in 0 .. n_templates - 1.

    Raises:
        ValueError: if n is negative, a number of templates is below 1 or not whole, the shape is not [n], or on a bad seed.

    Source: Dentan et al., ECAI 2025, arXiv 2409.18858, and its public code.
    """
    if n < 0:
        raise ValueError(f"n is {n}: give the number of samples.")
    if np.ndim(n_templates) == 0:
        n_templates = np.full(n, n_templates)
    choices = _whole_numbers(n_templates, "n_templates")
    if choices.shape != (n,):
        raise ValueError(
            f"n_templates has shape {choices.shape}: give one number, or one for each of the {n} samples."
        )
    _refuse(choices < 1, choices, "n_templates", "a sample needs at least one template")
    return random_state(data_seed, name="data_seed").randint(0, choices, size=n).astype(np.int64)


def _whole_numbers(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape}: give a one-dimensional array, one entry per sample."
        )
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} holds {array.dtype}: give whole numbers.")
    return array.astype(np.int64)


def _refuse(wrong: np.ndarray, values: np.ndarray, name: str, rule: str) -> None:
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise ValueError(f"{name} is {values[sample]} for sample {sample} ({wrong.sum()} like it): {rule}.")
