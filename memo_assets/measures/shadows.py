"""What all attacks read: a quantity of all shadow models on all samples, and who was trained on what.

Here belong the checks of these arrays and the split into one target model and the others. Any score belongs to the
attack: `lira.py`, `attacks.py`, `population.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_VALUES = 1_000_000


def sample_blocks(n_models: int, n_samples: int) -> Iterator[slice]:
    """Ranges of samples to look at one after another, so that passes and copies take the same memory for any S and N.

    Args:
        n_models: S.
        n_samples: N.
    """
    step = max(1, _VALUES // n_models)
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))


def shadow_arrays(
    values: ArrayLike, in_train: ArrayLike, *, name: str, model_axis: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Read a quantity of all shadow models and their membership mask.

    Args:
        values: [S, N, ...], or [N, S, ...] with `model_axis` 1.
        in_train: bool, the first two dimensions of `values`.
        name: what an error calls the values.
        model_axis: the dimension of the models.

    Returns:
        (values, float32 or float64 as they come, whole numbers and half precision as float64; bool mask).

    Raises:
        ValueError: if shapes disagree, the mask is not boolean, a value is not finite or there are fewer than two models.
    """
    numbers, member = np.asarray(values), np.asarray(in_train)
    if numbers.dtype not in (np.float32, np.float64):
        numbers = numbers.astype(np.float64)
    if member.ndim != 2 or numbers.shape[:2] != member.shape:
        raise ValueError(
            f"{name} have shape {numbers.shape} and in_train {member.shape}: give one mask entry per model and sample."
        )
    if model_axis == 0 and numbers.ndim != 2:
        raise ValueError(f"{name} have shape {numbers.shape}: give [models, samples].")
    if member.dtype != bool:
        raise ValueError(
            f"in_train holds {member.dtype}: give booleans, True where the model trained on the sample."
        )
    if member.shape[model_axis] < 2:
        raise ValueError(
            f"There is {member.shape[model_axis]} model in {name}: a comparison needs at least two."
        )
    finite = np.isfinite(numbers)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} at {first} is {numbers[first]} ({np.count_nonzero(~finite)} such entries): all must be finite."
        )
    return numbers, member


@dataclass(frozen=True)
class OthersOnTrained:
    """What an attack on one target model looks at, on the n samples that the target was trained on.

    Attributes:
        trained: int64 [n], positions of these samples among all N.
        n_samples: N.
        own: float64 [n], the target's own values.
        values: float64 [S - 1, n], the others' values.
        in_train: bool [S - 1, n], which of the others were trained with the sample.
    """

    trained: np.ndarray
    n_samples: int
    own: np.ndarray
    values: np.ndarray
    in_train: np.ndarray

    def spread(self, scores: np.ndarray) -> np.ndarray:
        """Scores [n] as float64 [N], nan outside the target's train set."""
        out = np.full(self.n_samples, np.nan)
        out[self.trained] = scores
        return out


def others_on_trained(
    values: ArrayLike, in_train: ArrayLike, target: int, *, name: str = "gaps"
) -> OthersOnTrained:
    """Split a quantity of all models into the target's and the others', on the target's training samples.

    Args:
        values: [S, N].
        in_train: bool [S, N].
        target: row of the audited model.
        name: what an error calls the values.

    Raises:
        ValueError: as `shadow_arrays`; a target out of range, or one that was trained on no sample.
    """
    numbers, member = shadow_arrays(values, in_train, name=name)
    trained = np.flatnonzero(trained_samples(member, target))
    numbers = numbers[:, trained].astype(np.float64, copy=False)
    others = np.delete(np.arange(len(numbers)), target)
    return OthersOnTrained(
        trained, member.shape[1], numbers[target], numbers[others], member[np.ix_(others, trained)]
    )


def trained_samples(member: np.ndarray, target: int) -> np.ndarray:
    """Which samples a target model was trained on, bool [N].

    Args:
        member: bool [S, N].
        target: row of the audited model.

    Raises:
        ValueError: a target out of range, or one that was trained on no sample.
    """
    n_models = len(member)
    if not 0 <= target < n_models:
        raise ValueError(
            f"target is {target}: there are {n_models} models, give a row from 0 to {n_models - 1}."
        )
    if not member[target].any():
        raise ValueError(f"The target model {target} was trained on none of the samples: it has no score.")
    return member[target]
