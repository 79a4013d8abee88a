import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from memo_assets.measures.population import population

STATIC = np.load(Path(__file__).parents[1] / "oracles" / "lira_static.npz")
WORLDS = ["main", "few", "tail"]


def measures_of(name):
    n = STATIC[f"{name}_nS"][1]
    mask = np.unpackbits(STATIC[f"{name}_mask"], axis=1)[:, :n].astype(bool)
    return population(STATIC[f"{name}_gaps"], STATIC[f"{name}_loss"], mask)


@pytest.mark.parametrize("name", WORLDS)
def test_against_the_corrected_oracle(name):
    measures = measures_of(name)
    assert set(measures) == {
        "counterfactual",
        "simplicity",
        "attack_success_rate",
        "mean_gap",
        "sd_gap",
        "mean_loss",
    }
    np.testing.assert_array_equal(measures["attack_success_rate"], STATIC[f"{name}_mia_fixed64"])
    np.testing.assert_allclose(measures["counterfactual"], STATIC[f"{name}_cf_memo_fixed64"], atol=1e-10)
    np.testing.assert_allclose(measures["simplicity"], STATIC[f"{name}_cf_simp_fixed64"], atol=1e-10)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(
    ("measure", "key"), [("mean_gap", "gap_mean"), ("sd_gap", "gap_std"), ("mean_loss", "loss")]
)
def test_against_the_published_code(name, measure, key):
    mean_over_samples, *per_sample = STATIC[f"{name}_{key}_ref"]
    values = measures_of(name)[measure]
    np.testing.assert_allclose(values, per_sample, atol=1e-5)
    assert values.mean() == pytest.approx(mean_over_samples, abs=1e-5)


@pytest.mark.parametrize("name", WORLDS)
def test_the_first_model_counts_as_negative_too(name):
    # The published code left model 0 out of the negatives: it differs just where model 0 is one.
    n = STATIC[f"{name}_nS"][1]
    in_first = np.unpackbits(STATIC[f"{name}_mask"], axis=1)[0, :n].astype(bool)
    for measure, key in [("counterfactual", "cf_memo"), ("simplicity", "cf_simp")]:
        published, ours = STATIC[f"{name}_{key}_ref"][1:], measures_of(name)[measure]
        np.testing.assert_allclose(ours[in_first], published[in_first], atol=1e-5)
        assert not np.allclose(ours[~in_first], published[~in_first], atol=1e-2)


def test_by_hand():
    # In: 3 and 5 (mean 4, sd 1); out: -1 and 1 (mean 0, sd 1): guessed a member above the middle, 2.
    gaps = np.array([[3.0], [5.0], [-1.0], [1.0]])
    measures = population(gaps, gaps / 2, np.array([[True], [True], [False], [False]]))
    assert {name: value.item() for name, value in measures.items()} == pytest.approx(
        {
            "counterfactual": 4.0,
            "simplicity": 4.0,
            "attack_success_rate": 1.0,
            "mean_gap": 2.0,
            "sd_gap": math.sqrt(20 / 3),
            "mean_loss": 1.0,
        }
    )


def test_one_member_without_spread_is_guessed_a_stranger():
    gaps = np.array([[3.0], [5.0], [-1.0], [1.0]])
    measures = population(gaps, gaps, np.array([[True], [False], [False], [False]]))
    assert measures["attack_success_rate"].item() == 0.75


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 8))
def test_against_a_loop(seed, n_models, n):
    rng = np.random.default_rng(seed)
    gaps, losses = rng.normal(scale=4, size=(n_models, n)), rng.random((n_models, n))
    mask = rng.random((n_models, n)) < 0.5
    measures = population(gaps, losses, mask)
    assert all(np.isfinite(values).all() for values in measures.values())
    for i in range(n):
        inside = [gaps[s, i] for s in range(n_models) if mask[s, i]]
        outside = [gaps[s, i] for s in range(n_models) if not mask[s, i]]
        (mean_in, sd_in), (mean_out, sd_out) = [
            (np.mean(g), np.std(g)) if g else (0.0, 0.1) for g in (inside, outside)
        ]
        hits = 0
        for s in range(n_models):
            defined = len(inside) != 1 and len(outside) != 1
            guess = defined and norm.logpdf(gaps[s, i], mean_in, sd_in) > norm.logpdf(
                gaps[s, i], mean_out, sd_out
            )
            hits += guess == mask[s, i]
        assert measures["attack_success_rate"][i] == pytest.approx(hits / n_models)
        assert measures["counterfactual"][i] == pytest.approx(mean_in - mean_out)
        assert measures["simplicity"][i] == pytest.approx(mean_in + mean_out)
        assert measures["sd_gap"][i] == pytest.approx(np.std(gaps[:, i], ddof=1))


def test_unusable_input_is_refused():
    gaps, mask = np.zeros((3, 4)), np.ones((3, 4), bool)
    with pytest.raises(ValueError, match=r"losses have shape \(3, 5\)"):
        population(gaps, np.zeros((3, 5)), mask)
    with pytest.raises(ValueError, match="gaps have shape"):
        population(gaps.T, gaps, mask)
    with pytest.raises(ValueError, match="at least two"):
        population(gaps[:1], gaps[:1], mask[:1])
    with pytest.raises(ValueError, match="in_train holds float64"):
        population(gaps, gaps, mask.astype(float))
    with pytest.raises(ValueError, match=r"losses at \(0, 0\) is inf"):
        population(gaps, np.where(mask, np.inf, 0), mask)
