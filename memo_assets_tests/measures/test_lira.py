import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from memo_assets.measures.lira import PADDING, log_lira, log_lira_loo, logit_gap

ORACLES = Path(__file__).parents[1] / "oracles"
STATIC = np.load(ORACLES / "lira_static.npz")
CIFAR = np.load(ORACLES / "cifar.npz")


def world(name):
    n_models, n = STATIC[f"{name}_nS"]
    mask = np.unpackbits(STATIC[f"{name}_mask"], axis=1)[:, :n].astype(bool)
    assert mask.shape == (n_models, n)
    return STATIC[f"{name}_gaps"], mask


class TestLogitGap:
    def test_the_oracle_bit_for_bit_in_float32(self):
        gaps = logit_gap(STATIC["few_logits"], STATIC["few_label"])
        assert gaps.dtype == np.float32
        np.testing.assert_array_equal(gaps, STATIC["few_gaps"])

    def test_minus_infinity_pads_as_well(self):
        logits = STATIC["few_logits"].copy()
        logits[logits == PADDING] = -np.inf
        np.testing.assert_array_equal(logit_gap(logits, STATIC["few_label"]), STATIC["few_gaps"])

    def test_the_hinge_score_of_the_vision_study(self):
        logits = CIFAR["logits"].astype(np.float64).transpose(1, 2, 0, 3)
        gaps = logit_gap(logits, CIFAR["labels"]).transpose(2, 0, 1)
        np.testing.assert_allclose(gaps, CIFAR["hinge"], rtol=1e-10)

    def test_by_hand(self):
        logits = [[1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [3.0, 3.0, -np.inf]]
        np.testing.assert_array_equal(logit_gap(logits, [1, 2, 0]), [2.0, -2.0, 0.0])

    def test_half_precision_is_subtracted_in_single(self):
        logits = np.array([[10.0, 0.001]], dtype=np.float16)
        gap = logit_gap(logits, [0])
        assert gap.dtype == np.float32
        assert gap[0] == np.float32(10.0) - np.float32(np.float16(0.001))

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            ([[1.0, 2.0]], [2], "Sample 0 has label 2"),
            ([[1.0, 2.0]], [-1], "Sample 0 has label -1"),
            ([[1.0, 2.0]], [0, 1], r"logits have shape \(1, 2\) and labels \(2,\)"),
            ([1.0, 2.0], [0], "give logits"),
            ([[1.0, 2.0]], [0.0], "labels hold float64"),
            ([[1.0, 2.0], [1.0, -np.inf]], [0, 1], "No logit gap for sample 1"),
            ([[1.0, -1000.0]], [1], "No logit gap for sample 0"),
            ([[1.0, -1000.0]], [0], "at least one other option"),
            ([[1.0]], [0], "at least one other option"),
            ([[1.0, np.nan, 0.0]], [0], "no logit may be nan"),
            ([[np.nan, 1.0]], [0], "no logit may be nan"),
            ([[np.inf, 1.0]], [0], "no logit may be nan"),
            ([[1.0, np.inf]], [0], "no logit may be nan"),
        ],
    )
    def test_logits_without_a_gap_are_refused(self, logits, labels, message):
        with pytest.raises(ValueError, match=message):
            logit_gap(logits, labels)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 5))
    def test_against_a_loop(self, seed, n, n_options):
        rng = np.random.default_rng(seed)
        logits, labels = rng.normal(size=(2, n, n_options)), rng.integers(0, n_options, n)
        for model in range(2):
            for i, label in enumerate(labels):
                others = [logits[model, i, c] for c in range(n_options) if c != label]
                assert logit_gap(logits, labels)[model, i] == logits[model, i, label] - max(others)


def slow_log_lira(gaps, in_train, target):
    scores = np.full(gaps.shape[1], np.nan)
    for i in np.flatnonzero(in_train[target]):
        sides = []
        for member in (True, False):
            of_group = [gaps[s, i] for s in range(len(gaps)) if s != target and in_train[s, i] == member]
            mean, sd = (np.mean(of_group), np.std(of_group)) if of_group else (0.0, 0.1)
            sides.append(norm.logpdf(gaps[target, i], mean, sd) if sd > 1e-12 else math.nan)
        scores[i] = sides[0] - sides[1]
    return scores


class TestLogLira:
    @pytest.mark.parametrize("name", ["main", "few", "tail"])
    def test_against_log_space(self, name):
        gaps, mask = world(name)
        scores = log_lira(gaps, mask, 0)
        assert scores.shape == (gaps.shape[1],)
        assert np.isnan(scores[~mask[0]]).all()
        np.testing.assert_allclose(scores[mask[0]], STATIC[f"{name}_lira_f64_logspace"], rtol=1e-10)

    @pytest.mark.parametrize("name", ["main", "few", "tail"])
    def test_against_the_published_code_where_it_is_finite(self, name):
        gaps, mask = world(name)
        published = STATIC[f"{name}_lira_ref"][2:]
        finite = np.isfinite(published)
        assert finite.any()
        ours, published = log_lira(gaps, mask, 0)[mask[0]][finite], published[finite]
        # The published code subtracts float32 logarithms: near 0 its own error, about 1e-6, exceeds any relative bound.
        away = np.abs(published) > 0.05
        np.testing.assert_allclose(ours[away], published[away], rtol=5e-6)
        np.testing.assert_allclose(ours[~away], published[~away], atol=1e-6)

    @pytest.mark.parametrize(("name", "published_lost"), [("main", 19), ("tail", 22)])
    def test_a_far_target_keeps_finite_scores_where_the_published_code_overflowed(self, name, published_lost):
        gaps, mask = world(name)
        assert np.count_nonzero(~np.isfinite(STATIC[f"{name}_lira_ref"][2:])) == published_lost
        assert np.isfinite(log_lira(gaps, mask, 0)[mask[0]]).all()

    @pytest.mark.parametrize("name", ["main", "few"])
    def test_share_of_samples_scored_as_members(self, name):
        gaps, mask = world(name)
        share = (log_lira(gaps, mask, 0)[mask[0]] > 0).mean()
        assert share == pytest.approx(STATIC[f"{name}_lira_ref"][0], abs=1e-6)

    def test_few_shadows(self):
        gaps, mask = world("few")
        scores, n_in = log_lira(gaps, mask, 0)[mask[0]], mask[1:, mask[0]].sum(axis=0)
        # All three shadows on one side: the other side counts as mean 0, sd 0.1. A single shadow has no spread.
        assert np.isfinite(scores[(n_in == 0) | (n_in == 3)]).all()
        assert np.isnan(scores[(n_in == 1) | (n_in == 2)]).all()

    def test_by_hand(self):
        # Others in: 1 and 3 (mean 2, sd 1); out: -1 and 1 (mean 0, sd 1); the target's gap is 2.
        gaps = np.array([[2.0], [1.0], [3.0], [-1.0], [1.0]])
        mask = np.array([[True], [True], [True], [False], [False]])
        assert log_lira(gaps, mask, 0)[0] == pytest.approx(2.0, rel=1e-14)

    def test_the_target_itself_does_not_shape_the_gaussians(self):
        gaps, mask = world("main")
        pushed = gaps.copy()
        pushed[3] += 100
        others = log_lira(gaps, mask, 0)
        assert not np.allclose(log_lira(pushed, mask, 0)[mask[0]], others[mask[0]])
        by_hand = slow_log_lira(pushed[:, :40].astype(float), mask[:, :40], 3)
        np.testing.assert_allclose(log_lira(pushed[:, :40], mask[:, :40], 3), by_hand, rtol=1e-9)

    def test_a_large_common_offset_changes_nothing(self):
        # Dyadic gaps survive the offset exactly; moments from raw squares would not.
        rng = np.random.default_rng(0)
        gaps = rng.integers(-64, 64, (20, 50)) / 8
        mask = rng.random((20, 50)) < 0.5
        mask[0] = True
        np.testing.assert_allclose(log_lira(gaps + 2.0**40, mask, 0), log_lira(gaps, mask, 0), rtol=1e-3)

    def test_samples_in_many_blocks_are_scored_alike(self):
        rng = np.random.default_rng(0)
        mask = rng.random((9, 1300)) < 0.5  # more than two blocks of samples
        mask[4] = True
        gaps = rng.normal(size=mask.shape)
        parts = [
            log_lira(gaps[:, part], mask[:, part], 4)
            for part in (slice(0, 100), slice(100, 1100), slice(1100, None))
        ]
        np.testing.assert_array_equal(log_lira(gaps, mask, 4), np.concatenate(parts))

    def test_equal_gaps_have_no_density(self):
        # 0.1 three times: a mean from sums would be off by one bit and give a huge finite score.
        gaps = np.array([[0.5], [0.1], [0.1], [0.1], [0.3], [0.2]])
        mask = np.array([[True], [True], [True], [True], [False], [False]])
        assert np.isnan(log_lira(gaps, mask, 0)).all()

    @settings(deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 12))
    def test_against_a_loop(self, seed, n_models, n):
        rng = np.random.default_rng(seed)
        gaps, mask = rng.normal(scale=5, size=(n_models, n)), rng.random((n_models, n)) < 0.5
        target = int(rng.integers(n_models))
        mask[target, 0] = True
        np.testing.assert_allclose(
            log_lira(gaps, mask, target), slow_log_lira(gaps, mask, target), rtol=1e-7, atol=1e-9
        )

    @pytest.mark.parametrize(
        ("shape", "mask_shape", "target", "message"),
        [
            ((4, 5), (4, 6), 0, r"gaps have shape \(4, 5\) and in_train \(4, 6\)"),
            ((4, 5, 2), (4, 5), 0, "give .models, samples."),
            ((1, 5), (1, 5), 0, "at least two"),
            ((4, 5), (4, 5), 4, "target is 4"),
            ((4, 5), (4, 5), -1, "target is -1"),
        ],
    )
    def test_wrong_shapes_and_targets_are_refused(self, shape, mask_shape, target, message):
        with pytest.raises(ValueError, match=message):
            log_lira(np.zeros(shape), np.ones(mask_shape, bool), target)

    def test_other_unusable_input_is_refused(self):
        gaps, mask = np.zeros((3, 2)), np.ones((3, 2), bool)
        with pytest.raises(ValueError, match="in_train holds int64"):
            log_lira(gaps, mask.astype(np.int64), 0)
        with pytest.raises(ValueError, match="target model 0 was trained on none"):
            log_lira(gaps, ~mask, 0)
        gaps[1, 1] = np.nan
        with pytest.raises(ValueError, match=r"gaps at \(1, 1\) is nan"):
            log_lira(gaps, mask, 0)


def slow_log_lira_loo(scores, in_train, fixed_variance):
    n, n_models, n_queries = scores.shape
    result = np.full((n, n_models), np.nan)
    for t in range(n_models):
        others = [s for s in range(n_models) if s != t]
        pooled = [
            [x for i in range(n) for s in others if in_train[i, s] == side for x in scores[i, s]]
            for side in (True, False)
        ]
        for i in range(n):
            ratios = []
            for a in range(n_queries):
                sides = []
                for side, pool in zip((True, False), pooled, strict=True):
                    group = [scores[i, s, a] for s in others if in_train[i, s] == side]
                    spread = pool if fixed_variance else group
                    defined = group and len(spread) > 1
                    sides.append(
                        norm.logpdf(scores[i, t, a], np.mean(group), np.std(spread, ddof=1))
                        if defined
                        else math.nan
                    )
                ratios.append(sides[0] - sides[1])
            result[i, t] = np.mean(ratios)
    return result


class TestLeaveOneOut:
    @pytest.mark.parametrize("score", ["hinge", "logit"])
    @pytest.mark.parametrize("augmented", [0, 1])
    @pytest.mark.parametrize("fixed_variance", [0, 1])
    def test_against_the_vision_study(self, score, augmented, fixed_variance):
        queries = CIFAR[score] if augmented else CIFAR[score][:, :, :1]
        ratios = log_lira_loo(queries, CIFAR["mask"], fixed_variance=bool(fixed_variance))
        published = CIFAR[f"loo_{score}_aug{augmented}_gv{fixed_variance}"]
        assert np.count_nonzero(np.isnan(published)) == (0 if fixed_variance else 2)
        np.testing.assert_allclose(ratios.T.ravel(), published, rtol=1e-10)
        np.testing.assert_array_equal(CIFAR["mask"].T.ravel(), CIFAR["loo_membership"])

    def test_attack_on_one_more_model(self):
        # The published attack fits all twelve models: append the target's scores as a thirteenth and read that one.
        queries = np.concatenate([CIFAR["hinge"], CIFAR["hinge"][:, :1]], axis=1)
        mask = np.concatenate([CIFAR["half_mask"], np.ones((60, 1), bool)], axis=1)
        np.testing.assert_allclose(
            log_lira_loo(queries, mask)[:, 12], CIFAR["lira_attack_target0"], rtol=1e-10
        )

    def test_an_extreme_model_does_not_spoil_the_moments_of_the_others(self):
        # Subtracting the extreme score from full sums would leave nothing of the others' spread.
        rng = np.random.default_rng(1)
        scores, mask = rng.normal(size=(5, 12, 1)), np.tile(np.arange(12) < 6, (5, 1))
        scores[:, 0] = 1e9
        alone = np.array(
            [
                norm.logpdf(1e9, row[1:6].mean(), row[1:6].std(ddof=1))
                - norm.logpdf(1e9, row[6:].mean(), row[6:].std(ddof=1))
                for row in scores[:, :, 0]
            ]
        )
        np.testing.assert_allclose(log_lira_loo(scores, mask)[:, 0], alone, rtol=1e-10)

    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(1, 6), st.integers(1, 3), st.booleans())
    def test_against_a_loop(self, seed, n_models, n, n_queries, fixed_variance):
        rng = np.random.default_rng(seed)
        scores, mask = rng.normal(scale=3, size=(n, n_models, n_queries)), rng.random((n, n_models)) < 0.5
        np.testing.assert_allclose(
            log_lira_loo(scores, mask, fixed_variance=fixed_variance),
            slow_log_lira_loo(scores, mask, fixed_variance),
            rtol=1e-7,
            atol=1e-9,
        )

    @pytest.mark.parametrize("fixed_variance", [False, True])
    @pytest.mark.parametrize("models", [[0], [4, 1], [3, 0, 2]])
    def test_some_models_have_the_scores_that_they_have_among_all(self, models, fixed_variance):
        rng = np.random.default_rng(3)
        scores, mask = rng.normal(size=(9, 5, 2)), rng.random((9, 5)) < 0.5
        found = log_lira_loo(scores, mask, fixed_variance=fixed_variance, models=models)
        of_all = log_lira_loo(scores, mask, fixed_variance=fixed_variance)
        np.testing.assert_array_equal(found, of_all[:, models])

    @pytest.mark.parametrize(
        ("shape", "mask_shape", "message"),
        [
            ((5, 4, 1), (4, 5), r"scores have shape \(5, 4, 1\) and in_train \(4, 5\)"),
            ((5, 4), (5, 4), "give .samples, models, queries."),
            ((5, 4, 0), (5, 4), "at least one query"),
            ((5, 1, 1), (5, 1), "at least two"),
        ],
    )
    def test_wrong_shapes_are_refused(self, shape, mask_shape, message):
        with pytest.raises(ValueError, match=message):
            log_lira_loo(np.zeros(shape), np.ones(mask_shape, bool))
