"""Split masks: sizes, pool, balance."""

from math import comb
from pathlib import Path

import numpy as np
import pytest

from memo_assets.checks.masks import FALSE_ALARM, masks_balanced
from memo_assets.checks.verdict import Verdict
from memo_assets_tests.checks.sound import Sound, facts_are_plain


def judged(sound: Sound, seeds: list[int] | None = None) -> Verdict:
    return masks_balanced(
        sound.layout, sound.study.shadows, list(sound.study.seeds) if seeds is None else seeds
    )


@pytest.mark.parametrize("changes", [{}, {"shadows.train_share": 0.3}, {"shadows.membership": "paired"}])
@pytest.mark.parametrize("models", [4, 40])
def test_sound_masks_pass(warehouse: Path, changes: dict, models: int) -> None:
    found = judged(Sound(warehouse, changes={**changes, "shadows.models": models}))
    assert found.passed, found.sentence
    n_train = 24 if "shadows.train_share" in changes else 40
    assert found.sentence.startswith(f"{n_train} of 80 pool samples a model, each sample in a share of ")
    assert found.facts["models"] == models
    if "shadows.membership" in changes:
        assert found.facts["least_share"] == found.facts["largest_share"] == 0.5
    assert facts_are_plain(found.facts)


def test_the_bounds_are_exact_binomial_tails(warehouse: Path) -> None:
    found = judged(Sound(warehouse, changes={"shadows.models": 40}))

    def tail(k: int) -> float:
        """Probability that a sample is in k of 40 models or fewer."""
        return sum(comb(40, i) for i in range(k + 1)) / 2**40

    lowest = next(k for k in range(41) if tail(k) >= FALSE_ALARM / (2 * 80))
    assert 0 < lowest < 20
    assert found.facts["bounds"] == f"{lowest / 40:.3g} to {1 - lowest / 40:.3g}"


def test_no_count_of_four_models_is_impossible(warehouse: Path) -> None:
    assert judged(Sound(warehouse)).facts["bounds"] == "0 to 1"


def test_a_sample_in_all_models_is_named_and_one_in_few_too(warehouse: Path) -> None:
    sound = Sound(warehouse, changes={"shadows.models": 40})
    always, never = sound.pool[[3, 70]]
    for seed in sound.study.seeds:
        others = [sample for sample in sound.mask(seed) if sample not in (always, never)]
        spare = [sample for sample in sound.pool if sample not in (*others, always, never)]
        sound.write_mask(seed, np.array([always, *others, *spare])[:40])
    found = judged(sound)
    assert not found.passed
    assert found.facts["unbalanced_samples"] == 2
    assert (
        f"samples in too many or too few of 40 models, a share of 0 to 1 where chance gives {found.facts['bounds']}: "
        in found.sentence
    )
    assert f": {always} and {never}. Materialize" in found.sentence
    assert found.seeds == ()


def broken(sound: Sound, how: str) -> np.ndarray:
    """A mask of seed 2 with a fault."""
    mask = sound.mask(2)
    return {
        "small": mask[:-1],
        "test": np.array(
            [*mask[:-1], sound.samples.loc[sound.samples["part"] == "test", "sample_id"].iloc[0]]
        ),
        "unknown": np.array([*mask[:-1], 10_000]),
        "twice": np.array([*mask[:-1], mask[0]]),
        "other": sound.mask(1),
    }[how]


@pytest.mark.parametrize(
    ("how", "fault", "seeds"),
    [
        ("small", "another size than 40: seed 2", (2,)),
        ("test", "samples that are not of the pool: seed 2", (2,)),
        ("unknown", "samples that are not of the pool: seed 2", (2,)),
        ("twice", "samples held more than once: seed 2", (2,)),
        ("other", "the very samples of another model: seeds 1 and 2", (1, 2)),
    ],
)
def test_a_broken_mask_is_named(warehouse: Path, how: str, fault: str, seeds: tuple) -> None:
    sound = Sound(warehouse)
    sound.write_mask(2, broken(sound, how))
    found = judged(sound)
    assert not found.passed
    assert f"split masks with {fault}. Materialize samples and split_masks again" == found.sentence
    assert found.seeds == seeds


def test_pairs_share_the_pool_out_where_both_are_there(warehouse: Path) -> None:
    sound = Sound(warehouse, changes={"shadows.membership": "paired", "shadows.models": 6})
    drawn = Sound(warehouse, changes={"shadows.models": 6})  # the same files
    sound.write_mask(3, drawn.mask(3))
    for seed in (0, 1, 2, 4, 5):
        sound.write_mask(seed)
    found = judged(sound)
    assert not found.passed
    assert "samples that a pair shares or leaves out: seeds 2 and 3" in found.sentence
    assert judged(sound, [0, 1, 2, 4, 5]).passed  # of the pair of 2 and 3 only one is judged
    assert judged(sound, [3]).passed


def test_in_a_tiny_pool_two_models_may_well_hold_the_same(warehouse: Path) -> None:
    sound = Sound(warehouse, changes={"data.items": 20})  # 18 in the pool: 48,620 training sets
    sound.write_mask(2, sound.mask(1))
    assert judged(sound).passed


def test_without_masks_nothing_is_judged(warehouse: Path) -> None:
    found = judged(Sound(warehouse), [])
    assert found.passed
    assert found.sentence == "not judged: no split mask has been recorded"
