"""Attacks against hand-worked values, the vision study's oracle, and loops that follow the papers' formulas."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from memo_assets.config.recipe import AttackName
from memo_assets.measures.attacks import ATTACKS, Outputs, scores_of
from memo_assets.measures.lira import log_lira, log_lira_loo
from memo_assets.measures.lira_variants import log_lira_fixed_variance, log_lira_offline
from memo_assets.measures.rmia import rmia
from memo_assets.measures.shadows import sample_blocks

CIFAR = np.load(Path(__file__).parents[1] / "oracles" / "cifar.npz")
SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, n_models: int, n: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(scale=3, size=(n_models, n)), rng.random((n_models, n)) < 0.5
    target = int(rng.integers(n_models))
    mask[target, 0] = True
    return values, mask, target


def group(values: np.ndarray, mask: np.ndarray, target: int, sample: int, *, inside: bool) -> list[float]:
    return [values[s, sample] for s in range(len(values)) if s != target and mask[s, sample] == inside]


def pool(values: np.ndarray, mask: np.ndarray, target: int, *, inside: bool) -> list[float]:
    return [x for i in range(values.shape[1]) for x in group(values, mask, target, i, inside=inside)]


def outputs_of(seed: int, n_models: int = 8, n: int = 12) -> Outputs:
    rng = np.random.default_rng(seed)
    mask = rng.random((n_models, n)) < 0.5
    mask[0, :3] = True
    losses = rng.exponential(size=(n_models, n))
    return Outputs(rng.normal(size=(n_models, n)), losses, rng.exponential(size=(n_models, 5)), mask)


class TestOffline:
    def test_by_hand(self):
        # Out: -1 and 1 (mean 0, sd 1); the target's gap of 2 is two sd above. The in models say nothing.
        gaps = np.array([[2.0, 0.0], [9.0, 0.0], [-1.0, -1.0], [1.0, 1.0]])
        mask = np.array([[True, True], [True, False], [False, False], [False, False]])
        assert log_lira_offline(gaps, mask, 0)[0] == pytest.approx(-math.log(0.02275013194817921), rel=1e-12)
        assert log_lira_offline(gaps, mask, 0)[1] == pytest.approx(math.log(2), rel=1e-15)

    def test_forty_sd_above_is_still_told_from_fifty(self):
        gaps, mask = (
            np.array([[40.0, 50.0], [-1.0, -1.0], [1.0, 1.0]]),
            np.array([[True] * 2, [False] * 2, [False] * 2]),
        )
        # Mills' ratio: Q(x) is about phi(x) / x.
        expected = [x**2 / 2 + math.log(x * math.sqrt(2 * math.pi)) for x in (40, 50)]
        np.testing.assert_allclose(log_lira_offline(gaps, mask, 0), expected, rtol=1e-5)

    @settings(deadline=None, max_examples=40)
    @given(SEEDS, st.integers(2, 8), st.integers(1, 8), st.booleans())
    def test_against_a_loop(self, seed, n_models, n, fixed_variance):
        gaps, mask, target = draw(seed, n_models, n)
        spread = pool(gaps, mask, target, inside=False)
        expected = np.full(n, np.nan)
        for i in np.flatnonzero(mask[target]).tolist():
            out = group(gaps, mask, target, i, inside=False)
            if len(spread if fixed_variance else out) > 1 and out:
                sd = np.std(spread, ddof=1) if fixed_variance else np.std(out)
                expected[i] = -norm.logsf(gaps[target, i], np.mean(out), sd)
        found = log_lira_offline(gaps, mask, target, fixed_variance=fixed_variance)
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_equal_gaps_have_no_density(self):
        gaps, mask = np.array([[2.0], [0.1], [0.1], [0.1]]), np.array([[True], [False], [False], [False]])
        assert np.isnan(log_lira_offline(gaps, mask, 0)).all()


class TestFixedVariance:
    def test_the_vision_study(self):
        gaps, mask = CIFAR["hinge"][:, :, 0].T, CIFAR["mask"].T
        published = CIFAR["loo_hinge_aug0_gv1"].reshape(mask.shape)
        for target in np.flatnonzero(mask.any(axis=1)).tolist():
            found = log_lira_fixed_variance(gaps, mask, target)
            np.testing.assert_allclose(found[mask[target]], published[target][mask[target]], rtol=1e-10)
            assert np.isnan(found[~mask[target]]).all()

    def test_one_model_on_each_side_is_enough(self):
        # In: 2 and 4 (one model on each of two samples), out: 0 and -2; both pools have the unbiased sd sqrt 2.
        gaps = np.array([[1.0, 9.0], [2.0, 4.0], [0.0, -2.0]])
        mask = np.array([[True, False], [True, True], [False, False]])
        found = log_lira_fixed_variance(gaps, mask, 0)
        assert found[0] == pytest.approx(-((1 - 2) ** 2) / 4 + (1 - 0) ** 2 / 4)
        assert np.isnan(log_lira(gaps, mask, 0)[0])

    @settings(deadline=None, max_examples=40)
    @given(SEEDS, st.integers(2, 8), st.integers(1, 8))
    def test_against_a_loop(self, seed, n_models, n):
        gaps, mask, target = draw(seed, n_models, n)
        spreads = {side: pool(gaps, mask, target, inside=side) for side in (True, False)}
        expected = np.full(n, np.nan)
        for i in np.flatnonzero(mask[target]).tolist():
            sides = [
                norm.logpdf(gaps[target, i], np.mean(own), np.std(spreads[side], ddof=1))
                for side in (True, False)
                if (own := group(gaps, mask, target, i, inside=side)) and len(spreads[side]) > 1
            ]
            if len(sides) == 2:
                expected[i] = sides[0] - sides[1]
        np.testing.assert_allclose(
            log_lira_fixed_variance(gaps, mask, target), expected, rtol=1e-8, atol=1e-9
        )


class TestRmia:
    def test_by_hand(self):
        # p(x | target) = .8, in mean .6, out mean .2: p(x) = .4, ratio 2. Population ratios: 1, 1/2, 2.
        losses = -np.log([[0.8], [0.6], [0.2], [0.2]])
        mask = np.array([[True], [True], [False], [False]])
        z = -np.log([[0.5, 0.25, 0.5], [0.5, 0.5, 0.5], [0.4, 0.4, 0.125], [0.6, 0.6, 0.125]])
        assert rmia(losses, z, mask, 0, gamma=1.9)[0] == pytest.approx(2 / 3)
        assert rmia(losses, z, mask, 0, gamma=2.1)[0] == pytest.approx(1 / 3)
        assert rmia(losses, z, mask, 0, gamma=4.1)[0] == 0
        # Offline with a = 1: p(x) = p_out = .2, ratio 4; a = 0: p(x) = .6, ratio 4/3, those of z 2/3, 1/3, 4/5.
        assert rmia(losses, z, mask, 0, online=False, gamma=1.9, offline_a=1)[0] == 1
        assert rmia(losses, z, mask, 0, online=False, gamma=1.7, offline_a=0)[0] == pytest.approx(2 / 3)

    @settings(deadline=None, max_examples=40)
    @given(SEEDS, st.integers(2, 8), st.integers(1, 8), st.booleans())
    def test_against_all_pairs(self, seed, n_models, n, online):
        rng = np.random.default_rng(seed)
        losses, mask, target = draw(seed, n_models, n)
        losses, z = np.abs(losses), rng.exponential(size=(n_models, 11))
        p, pz = np.exp(-losses), np.exp(-z)
        others = [s for s in range(n_models) if s != target]
        ratio_z = pz[target] / (pz[others].mean(axis=0) if online else 0.65 * pz[others].mean(axis=0) + 0.35)
        expected = np.full(n, np.nan)
        for i in np.flatnonzero(mask[target]).tolist():
            inside, outside = (group(p, mask, target, i, inside=side) for side in (True, False))
            if outside and (inside or not online):
                mean = (np.mean(inside) + np.mean(outside)) / 2 if online else 0.65 * np.mean(outside) + 0.35
                expected[i] = np.mean(p[target, i] / mean / ratio_z >= 2)
        np.testing.assert_array_equal(rmia(losses, z, mask, target, online=online), expected)

    def test_losses_whose_probabilities_vanish(self):
        losses = np.array([[2000.0], [2001.0], [2003.0]])
        z = np.array([[5000.0, 5000.0], [5000.0, 4998.0], [5000.0, 4998.0]])
        mask = np.array([[True], [True], [False]])
        # Ratio of x: 2 / (1 / e + 1 / e^3) = 4.8; of z: 1 and e^-2.
        assert rmia(losses, z, mask, 0)[0] == 1
        assert rmia(losses, z, mask, 0, gamma=5)[0] == 0.5

    @pytest.mark.parametrize("z", [np.zeros((2, 4)), np.zeros((3, 0)), np.zeros(3), np.full((3, 4), np.inf)])
    def test_a_population_that_does_not_fit_is_refused(self, z):
        with pytest.raises(ValueError, match=r"give finite losses \[3 models"):
            rmia(np.zeros((3, 2)), z, np.ones((3, 2), bool), 0)

    @pytest.mark.parametrize("setting", [{"gamma": 0}, {"offline_a": 1.1}, {"offline_a": -0.1}])
    def test_settings_out_of_range_are_refused(self, setting):
        with pytest.raises(ValueError, match="give gamma > 0 and offline_a from 0 to 1"):
            rmia(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2), bool), 0, **setting)


class TestQueries:
    def test_leave_one_out_lira_averages_over_them_and_no_other_attack_reads_them(self):
        outputs = outputs_of(4)
        queries = np.random.default_rng(5).normal(size=(*outputs.gaps.shape, 3))
        asked = replace(outputs, query_gaps=queries)
        for name, attack in ATTACKS.items():
            found, plain = attack.scores(asked, 1), attack.scores(outputs, 1)
            if name == "loo_lira":
                one_by_one = [
                    log_lira_loo(queries[:, :, a].T[:, :, None], outputs.in_train.T) for a in range(3)
                ]
                expected = np.where(outputs.in_train[1], np.mean(one_by_one, axis=0)[:, 1], np.nan)
                np.testing.assert_allclose(found, expected, rtol=1e-12)
            else:
                np.testing.assert_array_equal(found, plain)

    def test_some_models_bring_their_own_queries(self):
        outputs, rows = outputs_of(4), np.array([0, 2, 3, 5, 6])
        asked = replace(outputs, query_gaps=np.stack([outputs.gaps, outputs.gaps + 1], axis=2))
        np.testing.assert_allclose(
            ATTACKS["loo_lira"].scores(asked.of_models(rows), 2),
            ATTACKS["loo_lira"].scores(outputs.of_models(rows), 2),
            rtol=1e-9,
        )


class TestAllAttacks:
    def test_the_names_are_those_of_the_setting(self):
        assert set(ATTACKS) == set(get_args(AttackName))

    @pytest.mark.parametrize("name", ATTACKS)
    def test_only_the_targets_training_samples_have_scores(self, name):
        outputs = outputs_of(0)
        for target in (0, 3):
            found = ATTACKS[name].scores(outputs, target)
            assert np.isfinite(found).any()
            assert np.isnan(found[~outputs.in_train[target]]).all()

    @pytest.mark.parametrize("name", ATTACKS)
    def test_some_models_are_scored_as_if_there_were_no_others(self, name):
        outputs, rows = outputs_of(1), np.array([0, 2, 3, 5, 6])
        alone = Outputs(
            *(
                part[rows]
                for part in (outputs.gaps, outputs.losses, outputs.population_losses, outputs.in_train)
            )
        )
        found = ATTACKS[name].scores(outputs.of_models(rows), 0)
        np.testing.assert_array_equal(found, ATTACKS[name].scores(alone, 0))
        assert not np.array_equal(found, ATTACKS[name].scores(outputs, 0), equal_nan=True)

    @pytest.mark.parametrize("name", ATTACKS)
    def test_a_large_gap_and_a_small_loss_of_the_target_tell_of_memorization(self, name):
        outputs, target = outputs_of(2, n_models=30), 0
        gaps, losses = (
            outputs.gaps + 3 * outputs.in_train,
            outputs.losses - outputs.losses * 0.9 * outputs.in_train,
        )
        gaps[target, 1], losses[target, 1] = 8, 1e-4
        gaps[target, 2], losses[target, 2] = 0, 5
        found = ATTACKS[name].scores(
            Outputs(gaps, losses, outputs.population_losses, outputs.in_train), target
        )
        assert found[1] > found[2]

    def test_untrained_models_that_answer_alike_are_no_evidence(self):
        outputs = outputs_of(3)
        alike = Outputs(
            np.tile(outputs.gaps[0], (8, 1)),
            np.tile(outputs.losses[0], (8, 1)),
            np.tile([0.5, 1.0], (8, 1)),
            outputs.in_train,
        )
        trained = outputs.in_train[0]
        for name, attack in ATTACKS.items():
            expected = math.log(2) if name.startswith("offline_lira") else 0.0
            if name != "offline_rmia":
                np.testing.assert_allclose(attack.scores(alike, 0)[trained], expected, atol=1e-12)

    def test_leave_one_out_is_the_published_attack_of_every_target(self):
        outputs = outputs_of(4)
        ratios = log_lira_loo(outputs.gaps.T[:, :, None], outputs.in_train.T)
        for target in range(8):
            found, trained = ATTACKS["loo_lira"].scores(outputs, target), outputs.in_train[target]
            np.testing.assert_array_equal(found[trained], ratios[trained, target])

    @pytest.mark.parametrize("values", [8, 40])
    def test_blocks_of_samples_change_no_bit(self, monkeypatch, values):
        outputs, targets = outputs_of(5), [0, 3, 7]
        gaps, losses, of_test = (
            part.astype(np.float32) for part in (outputs.gaps, outputs.losses, outputs.population_losses)
        )
        queries = gaps[:, :, None].repeat(2, axis=2)
        single = Outputs(gaps, losses, of_test, outputs.in_train, queries)
        whole = scores_of(list(ATTACKS.values()), single, targets)
        monkeypatch.setattr("memo_assets.measures.shadows._VALUES", values)
        assert len(list(sample_blocks(*outputs.gaps.shape))) > 2
        np.testing.assert_array_equal(scores_of(list(ATTACKS.values()), single, targets), whole)
        for i, target in enumerate(targets):
            for j, attack in enumerate(ATTACKS.values()):
                np.testing.assert_array_equal(attack.scores(single, target), whole[i, j])

    def test_a_target_without_training_samples_is_refused(self):
        outputs = outputs_of(6)
        outputs.in_train[3] = False
        with pytest.raises(ValueError, match="target model 3 was trained on none"):
            scores_of(list(ATTACKS.values()), outputs, [0, 3])


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_that_reads_no_queries_scores_the_same_without_them(name: str) -> None:
    rng = np.random.default_rng(7)
    gaps, losses = rng.normal(size=(2, 12, 30)).astype(np.float32)
    outputs = Outputs(
        gaps,
        np.abs(losses),
        np.abs(rng.normal(size=(12, 9))).astype(np.float32),
        rng.random((12, 30)) < 0.5,
        rng.normal(size=(12, 30, 3)).astype(np.float32),
    )
    scored = [ATTACKS[name].scores(of, 0) for of in (outputs, replace(outputs, query_gaps=None))]
    assert ATTACKS[name].reads_queries != np.array_equal(*scored, equal_nan=True)
