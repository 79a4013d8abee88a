"""Membership attacks on target models, side by side: LiRA online and offline, with own or pooled variance, and RMIA.

Here belong the table of all attacks by name, and what they have in common: they need no more than the outputs of the shadow
models. The attacks themselves are in `lira.py`, `lira_variants.py` and `rmia.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from memo_assets.measures.lira import log_lira, log_lira_loo
from memo_assets.measures.lira_variants import log_lira_fixed_variance, log_lira_offline, sds_of_others
from memo_assets.measures.rmia import population_ratios, share_beaten
from memo_assets.measures.shadows import sample_blocks, trained_samples


@dataclass(frozen=True)
class Outputs:
    """What attacks read: outputs of all models at one checkpoint, in float32 or float64.

    Attributes:
        gaps: [S, N], logit gaps.
        losses: [S, N], nats.
        population_losses: [S, Z], losses on samples that no model was trained on.
        in_train: bool [S, N], whether the model was trained on the sample.
        query_gaps: [S, N, A], logit gaps on augmented queries, which leave-one-out LiRA averages over; None where
            the sample itself is the one query.
    """

    gaps: np.ndarray
    losses: np.ndarray
    population_losses: np.ndarray
    in_train: np.ndarray
    query_gaps: np.ndarray | None = None

    def of_models(self, rows: np.ndarray) -> Outputs:
        """The outputs of some models, in the order given."""
        return Outputs(
            self.gaps[rows],
            self.losses[rows],
            self.population_losses[rows],
            self.in_train[rows],
            None if self.query_gaps is None else self.query_gaps[rows],
        )

    @cached_property
    def sds(self) -> tuple[np.ndarray, np.ndarray]:
        """What `sds_of_others` finds: one pass serves all targets, online and offline."""
        return sds_of_others(self.gaps, self.in_train)

    @cached_property
    def loo(self) -> np.ndarray:
        """float64 [N, S], leave-one-out log-LiRA of every model on every sample, in one pass."""
        queries = self.gaps[:, :, None] if self.query_gaps is None else self.query_gaps
        return log_lira_loo(queries.swapaxes(0, 1), self.in_train.T)


class OfSamples:
    """The outputs on some samples, in float64, each taken when the first attack reads it.

    Args:
        outputs: of all models that may be looked at.
        samples: int [N], which ones.
        targets: rows of the models whose leave-one-out scores are asked for.
    """

    def __init__(self, outputs: Outputs, samples: np.ndarray, targets: Sequence[int]):
        self._outputs, self._samples, self.targets = outputs, samples, targets
        self.in_train = outputs.in_train.take(samples, axis=1)

    @cached_property
    def gaps(self) -> np.ndarray:
        """[S, N]."""
        return self._taken(self._outputs.gaps)

    @cached_property
    def losses(self) -> np.ndarray:
        """[S, N]."""
        return self._taken(self._outputs.losses)

    @cached_property
    def loo(self) -> np.ndarray:
        """[N, targets], leave-one-out log-LiRA of every target on every sample, in one pass."""
        queries = self._outputs.query_gaps
        scores = self.gaps[:, :, None] if queries is None else self._taken(queries)
        return log_lira_loo(scores.swapaxes(0, 1), self.in_train.T, models=self.targets)

    def _taken(self, values: np.ndarray) -> np.ndarray:
        return values.take(self._samples, axis=1).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        score: from outputs on some samples, the target's row, and what `over_samples` found, to scores of these samples,
            high: memorized; nan outside the target's train set.
        without_evidence: the score where all models have the same gap, as before training; None if that needs no rule.
        meaning: one sentence.
        over_samples: what scores need to know of all samples, from the outputs on all of them and the target's row; None
            where that is nothing.
        reads_queries: whether it reads the gaps on augmented queries, which are large.
    """

    score: Callable[[OfSamples, int, Any], np.ndarray]
    without_evidence: float | None
    meaning: str
    over_samples: Callable[[Outputs, int], Any] | None = None
    reads_queries: bool = False

    def scores(self, outputs: Outputs, target: int) -> np.ndarray:
        """Scores [N] of the target's training samples, nan elsewhere.

        Args:
            outputs: of all models that may be looked at, the target among them.
            target: the target's row there.
        """
        return scores_of([self], outputs, [target])[0, 0]


def scores_of(attacks: Sequence[Attack], outputs: Outputs, targets: Sequence[int]) -> np.ndarray:
    """Scores of some targets' training samples by some attacks; these alone are looked at, in blocks, in flat memory.

    Args:
        attacks: the attacks.
        outputs: of all models that may be looked at, the targets among them.
        targets: their rows there.

    Returns:
        float64 [targets, attacks, N], nan for samples that a target was not trained on.

    Raises:
        ValueError: as `lira.log_lira`.
    """
    for target in targets:
        trained_samples(outputs.in_train, target)
    known = [
        [attack.over_samples and attack.over_samples(outputs, target) for attack in attacks]
        for target in targets
    ]
    found = np.full((len(targets), len(attacks), outputs.gaps.shape[1]), np.nan)
    scored = np.flatnonzero(outputs.in_train[targets].any(axis=0))
    for part in sample_blocks(len(outputs.gaps), len(scored)):
        samples = scored[part]
        block = OfSamples(outputs, samples, targets)
        without_evidence = np.ptp(block.gaps, axis=0) == 0
        for i, target in enumerate(targets):
            member = block.in_train[target]
            if not member.any():
                continue
            for j, attack in enumerate(attacks):
                scores = attack.score(block, target, known[i][j])
                if attack.without_evidence is not None:
                    scores[member & without_evidence] = attack.without_evidence
                found[i, j, samples] = scores
    return found


def _loo_of(outputs: OfSamples, target: int, _: None) -> np.ndarray:
    return np.where(outputs.in_train[target], outputs.loo[:, outputs.targets.index(target)], np.nan)


def _sds(outputs: Outputs, target: int) -> tuple[float, float]:
    sd_in, sd_out = outputs.sds
    return float(sd_in[target]), float(sd_out[target])


ATTACKS: dict[str, Attack] = {
    "online_lira": Attack(
        lambda o, t, _: log_lira(o.gaps, o.in_train, t),
        0.0,
        "Log-LiRA: models with the sample against models without it.",
    ),
    "online_lira_fixed_variance": Attack(
        lambda o, t, sds: log_lira_fixed_variance(o.gaps, o.in_train, t, sds=sds),
        0.0,
        "Log-LiRA with one variance for all samples.",
        over_samples=_sds,
    ),
    "offline_lira": Attack(
        lambda o, t, _: log_lira_offline(o.gaps, o.in_train, t),
        np.log(2),
        "LiRA by models without the sample alone.",
    ),
    "offline_lira_fixed_variance": Attack(
        lambda o, t, sds: log_lira_offline(o.gaps, o.in_train, t, fixed_variance=True, sds=sds),
        np.log(2),
        "The same with one variance for all samples.",
        over_samples=_sds,
    ),
    "rmia": Attack(
        lambda o, t, ratios: share_beaten(o.losses, ratios, o.in_train, t),
        None,
        "RMIA: share of the test samples that the sample beats in likelihood ratio.",
        over_samples=lambda o, t: population_ratios(o.population_losses, t),
    ),
    "offline_rmia": Attack(
        lambda o, t, ratios: share_beaten(o.losses, ratios, o.in_train, t, online=False),
        None,
        "RMIA by models without the sample alone.",
        over_samples=lambda o, t: population_ratios(o.population_losses, t, online=False),
    ),
    "loo_lira": Attack(
        _loo_of,
        0.0,
        "Log-LiRA, leave one out, averaged over augmented queries, with unbiased variance.",
        reads_queries=True,
    ),
}
"""All attacks by name; what they read are the same logits, losses and split masks."""
