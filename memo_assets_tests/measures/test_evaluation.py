import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from memo_assets.measures.evaluation import (
    Evaluation,
    evaluate,
    memorized_labels,
    operating_point,
    precision_at_k,
    prediction_epoch,
    roc,
)

ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "evaluation.npz")
MEMO, PSMI = ORACLE["memo"], ORACLE["psmi"]


def kept(scores, memo=MEMO):
    finite = np.isfinite(scores)
    return scores[finite], memo[finite]


def scored(draw_scores):
    """Small samples with many ties and both labels."""
    return st.lists(st.tuples(draw_scores, st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )


class TestPublishedEvaluation:
    @pytest.mark.parametrize(("name", "higher"), [("psmi", False), ("loss", True), ("gap", False)])
    def test_fpr_at_tpr(self, name, higher):
        scores, memo = kept(ORACLE[name])
        fpr, tpr, threshold, memo_threshold, n_memorized, n = ORACLE[f"{name}_fpr_at_tpr75"]
        labels = memorized_labels(memo)
        judged = evaluate(scores, labels, higher_is_riskier=higher)
        assert (judged.n, judged.n_memorized) == (n, n_memorized)
        assert judged.fpr_at_tpr == pytest.approx(fpr, abs=1e-12)
        # The published code negates scores of which the low ones are risky; ours keep their own sign.
        assert judged.threshold_at_tpr == pytest.approx(threshold if higher else -threshold, abs=1e-12)
        risk, limit = (scores, threshold) if higher else (-scores, threshold)
        assert operating_point(risk >= limit, labels) == pytest.approx((fpr, tpr), abs=1e-12)
        assert memo[labels].min() >= memo_threshold - 1e-12 > memo[~labels].max()

    def test_scores_that_are_not_finite_are_left_out(self):
        labels = np.zeros(1000, bool)
        finite = np.isfinite(PSMI)
        assert np.count_nonzero(~finite) == 2
        labels[finite] = memorized_labels(MEMO[finite])
        whole = evaluate(PSMI, labels, higher_is_riskier=False)
        assert whole == evaluate(PSMI[finite], labels[finite], higher_is_riskier=False)
        assert whole.n == 998
        assert whole.fpr_at_tpr == pytest.approx(ORACLE["psmi_fpr_at_tpr75"][0], abs=1e-12)

    def test_first_roc_point_past_zero(self):
        scores, memo = kept(PSMI)
        fpr, tpr, threshold = roc(scores, memorized_labels(memo), higher_is_riskier=False)
        point = int(np.argmax(threshold > 0))
        expected = ORACLE["psmi_default_thd0"]
        np.testing.assert_allclose(
            [fpr[point], tpr[point], -threshold[point]], [expected[0], expected[1], expected[2]], atol=1e-12
        )

    def test_plain_rule(self):
        scores, memo = kept(PSMI)
        assert operating_point(scores <= 0, memorized_labels(memo)) == pytest.approx(
            tuple(ORACLE["psmi_rule_le0"]), abs=1e-12
        )

    def test_saturated_labels(self):
        scores, memo = kept(PSMI, ORACLE["memo2"])
        fpr, _, threshold, memo_threshold, n_memorized, n = ORACLE["saturated_npos"]
        labels = memorized_labels(memo)
        assert memo[labels].min() == memo_threshold == 100
        judged = evaluate(scores, labels, higher_is_riskier=False)
        assert (judged.n, judged.n_memorized) == (n, n_memorized)
        assert (judged.fpr_at_tpr, judged.threshold_at_tpr) == pytest.approx((fpr, -threshold), abs=1e-12)

    def test_sweep_over_memorization_quantiles(self):
        scores, memo = kept(PSMI)
        fprs = [
            evaluate(scores, memorized_labels(memo, quantile=1 - q), higher_is_riskier=False).fpr_at_tpr
            for q in ORACLE["sweep_q"]
        ]
        np.testing.assert_allclose(fprs, ORACLE["psmi_sweep"], atol=1e-12)

    def test_prediction_epoch(self):
        medians = np.median(ORACLE["rule_losses"], axis=1)
        np.testing.assert_array_equal(medians, ORACLE["rule_medians"])
        epochs = [0, 0.2, 0.4, 0.6, 0.8, 1]
        assert prediction_epoch(epochs, medians) == epochs[1:][int(ORACLE["rule_sel_idx"])] == 0.6

    def test_clipping_keeps_infinite_scores_on_their_side(self):
        raw, published = ORACLE["sanityze_in"], ORACLE["sanityze_out"]
        known = ~np.isnan(raw)  # the published nan -> -100 is a defect
        np.testing.assert_array_equal(np.clip(raw, -100, 100)[known], published[known])
        clipped = np.clip(raw, -100, 100)
        np.testing.assert_array_equal(memorized_labels(clipped, quantile=0.6), published == 100)


class TestEvaluate:
    def test_an_area_of_eight_ninths(self):
        # Nine pairs of a memorized and another sample; only (0.4, 0.5) is in the wrong order.
        scores, labels = [0.9, 0.8, 0.4, 0.5, 0.2, 0.1], np.array([True, True, True, False, False, False])
        judged = evaluate(scores, labels, higher_is_riskier=True)
        assert judged == Evaluation(
            auc=8 / 9,
            fpr_at_tpr=1 / 3,
            threshold_at_tpr=0.4,
            tpr_at_fpr_001=2 / 3,
            tpr_at_fpr_01=2 / 3,
            n=6,
            n_memorized=3,
        )

    def test_a_tie_counts_one_half(self):
        labels = np.array([True, False])
        assert evaluate([1.0, 1.0], labels, higher_is_riskier=True).auc == 0.5
        # Pairs: (3, 2) and (3, 1) right, (2, 2) tied, (2, 1) right.
        labels = np.array([True, True, False, False])
        assert evaluate([3, 2, 2, 1], labels, higher_is_riskier=True).auc == 3.5 / 4

    def test_a_tpr_equal_to_the_objective_is_not_enough(self):
        scores, labels = np.array([5, 4, 3, 2.5, 2, 1]), np.array([True, True, True, False, True, False])
        judged = evaluate(scores, labels, higher_is_riskier=True, tpr=0.75)
        assert (judged.fpr_at_tpr, judged.threshold_at_tpr) == (0.5, 2.0)
        assert evaluate(scores, labels, higher_is_riskier=True, tpr=0.74).fpr_at_tpr == 0.0

    def test_tpr_at_low_fpr_takes_the_limit_itself(self):
        # 1000 others: one false positive is 0.1 %, ten are 1 %.
        others = np.arange(1000.0)
        memorized = np.array([2000.0, 998.5, 990.5, 988.5])
        judged = evaluate(np.concatenate([memorized, others]), np.arange(1004) < 4, higher_is_riskier=True)
        assert (judged.tpr_at_fpr_001, judged.tpr_at_fpr_01) == (0.5, 0.75)

    def test_the_order_of_samples_does_not_matter(self):
        scores, labels = np.array([1, 1, 2, 2, 3.0]), np.array([True, False, True, False, True])
        results = {
            evaluate(scores[list(p)], labels[list(p)], higher_is_riskier=True)
            for p in itertools.permutations(range(5))
        }
        assert len(results) == 1

    @settings(deadline=None)
    @given(scored(st.integers(-3, 3)), st.booleans(), st.floats(0, 0.99))
    def test_against_scikit_learn(self, rows, higher, objective):
        scores, labels = np.array([s for s, _ in rows], float), np.array([m for _, m in rows])
        risk = scores if higher else -scores
        judged = evaluate(scores, labels, higher_is_riskier=higher, tpr=objective)
        assert judged.auc == pytest.approx(roc_auc_score(labels, risk), abs=1e-14)
        fpr, tpr, threshold = roc_curve(labels, risk, drop_intermediate=False)
        first = np.flatnonzero(tpr > objective)[0]
        assert judged.fpr_at_tpr == pytest.approx(fpr[first], abs=1e-14)
        assert judged.threshold_at_tpr == (threshold[first] if higher else -threshold[first])
        for limit, value in [(0.001, judged.tpr_at_fpr_001), (0.01, judged.tpr_at_fpr_01)]:
            assert value == pytest.approx(tpr[fpr <= limit].max(), abs=1e-14)
        ours = roc(scores, labels, higher_is_riskier=higher)
        np.testing.assert_allclose(ours[0], fpr, atol=1e-14)
        np.testing.assert_allclose(ours[1], tpr, atol=1e-14)
        np.testing.assert_array_equal(ours[2] if higher else -ours[2], threshold)

    @given(scored(st.integers(-2, 2)))
    def test_the_area_is_the_share_of_pairs_in_order(self, rows):
        risky, safe = [s for s, m in rows if m], [s for s, m in rows if not m]
        pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in risky for b in safe]
        scores, labels = [s for s, _ in rows], np.array([m for _, m in rows])
        assert evaluate(scores, labels, higher_is_riskier=True).auc == sum(pairs) / len(pairs)
        assert evaluate(scores, labels, higher_is_riskier=False).auc == pytest.approx(
            1 - sum(pairs) / len(pairs)
        )

    def test_the_result_is_frozen_and_plain(self):
        judged = evaluate(np.array([2.0, 1.0]), np.array([True, False]), higher_is_riskier=True)
        assert {type(v) for v in dataclasses.astuple(judged)} == {int, float}
        with pytest.raises(dataclasses.FrozenInstanceError):
            judged.auc = 1.0  # pyright: ignore[reportAttributeAccessIssue]

    @pytest.mark.parametrize(
        ("scores", "labels", "message"),
        [
            ([1.0, 2.0], [True, True], "2 of 2 samples"),
            ([1.0, 2.0], [False, False], "0 of 2 samples"),
            ([np.nan, 2.0], [True, False], "0 of 1 samples"),
            ([], np.array([], bool), "0 of 0 samples"),
            ([1.0, 2.0], [True], r"shape \(2,\) and memorized \(1,\)"),
            ([[1.0, 2.0]], [[True, False]], "one of each per sample"),
            ([1.0, 2.0], [1, 0], "memorized holds int64"),
        ],
    )
    def test_unusable_input_is_refused(self, scores, labels, message):
        for function in (evaluate, roc):
            with pytest.raises(ValueError, match=message):
                function(scores, labels, higher_is_riskier=True)

    @pytest.mark.parametrize("tpr", [1.0, -0.1, np.nan])
    def test_an_impossible_objective_is_refused(self, tpr):
        with pytest.raises(ValueError, match="tpr is"):
            evaluate([1.0, 2.0], np.array([True, False]), higher_is_riskier=True, tpr=tpr)


class TestPrecisionAtK:
    def test_by_hand(self):
        scores, labels = np.array([4.0, 3, 2, 1, np.nan]), np.array([True, False, True, False, True])
        assert precision_at_k(scores, labels, 1, higher_is_riskier=True) == 1.0
        assert precision_at_k(scores, labels, 3, higher_is_riskier=True) == 2 / 3
        assert precision_at_k(scores, labels, 2, higher_is_riskier=False) == 0.5

    @settings(max_examples=40, deadline=None)
    @given(scored(st.integers(0, 2)), st.data())
    def test_ties_are_worth_their_expectation(self, rows, data):
        assume(len(rows) <= 6)
        k = data.draw(st.integers(1, len(rows)))
        scores, labels = np.array([s for s, _ in rows]), np.array([m for _, m in rows])
        # A stable sort of every permutation breaks the ties in every way.
        hits = [
            labels[list(p)][np.argsort(-scores[list(p)], kind="stable")][:k].mean()
            for p in itertools.permutations(range(len(rows)))
        ]
        assert precision_at_k(scores, labels, k, higher_is_riskier=True) == pytest.approx(np.mean(hits))

    @pytest.mark.parametrize("k", [0, 3])
    def test_an_impossible_k_is_refused(self, k):
        with pytest.raises(ValueError, match=f"k is {k}: there are 2 samples"):
            precision_at_k([1.0, 2.0, np.inf], np.array([True, False, True]), k, higher_is_riskier=True)


class TestOperatingPoint:
    def test_by_hand(self):
        flag, labels = (
            np.array([True, True, False, False, False]),
            np.array([True, False, True, False, False]),
        )
        assert operating_point(flag, labels) == pytest.approx((1 / 3, 1 / 2))

    @pytest.mark.parametrize(
        ("flag", "labels", "message"),
        [
            ([1, 0], [True, False], "flag holds int64"),
            ([True, False], [True, True], "2 of 2 samples"),
            ([True, False], [True, False, True], "shape"),
        ],
    )
    def test_unusable_input_is_refused(self, flag, labels, message):
        with pytest.raises(ValueError, match=message):
            operating_point(flag, labels)


class TestMemorizedLabels:
    def test_the_quantile_is_that_of_the_known_scores(self):
        scores = np.full(40, np.nan)
        scores[:11] = np.arange(11.0)
        np.testing.assert_array_equal(np.flatnonzero(memorized_labels(scores)), [9, 10])
        np.testing.assert_array_equal(np.flatnonzero(memorized_labels(scores, quantile=0.5)), range(5, 11))

    def test_eta_takes_the_place_of_the_quantile(self):
        scores = np.array([4.0, np.nan, 3.999, -7.0, 150.0])
        np.testing.assert_array_equal(memorized_labels(scores, eta=4), [True, False, False, False, True])
        assert not memorized_labels(scores, eta=151).any()

    @pytest.mark.parametrize(
        ("scores", "quantile", "message"),
        [
            ([np.nan, np.nan], 0.9, "All 2 scores are nan"),
            ([], 0.9, "All 0"),
            ([1.0, np.inf], 0.9, "1 scores are infinite"),
            ([[1.0]], 0.9, "one-dimensional"),
            ([1.0, 2.0], 1.0, "quantile is 1.0"),
            ([1.0, 2.0], 90, "quantile is 90"),
        ],
    )
    def test_unusable_input_is_refused(self, scores, quantile, message):
        with pytest.raises(ValueError, match=message):
            memorized_labels(scores, quantile=quantile)


class TestPredictionEpoch:
    def test_strictly_below_the_limit(self):
        assert prediction_epoch([0, 1, 2, 3], [4.0, 2.0, 1.0, 0.5], drop=0.75) == 3.0
        assert prediction_epoch([0, 1, 2, 3], [4.0, 2.0, 0.99, 3.0], drop=0.75) == 2.0

    def test_none_if_the_loss_stays_high(self):
        assert prediction_epoch([0, 1, 2], [4.0, 2.0, 1.0]) is None

    @pytest.mark.parametrize(
        ("epochs", "losses", "drop", "message"),
        [
            ([0, 1], [1.0], 0.95, "one loss per checkpoint"),
            ([], [], 0.95, "one loss per checkpoint"),
            ([0.2, 1], [1.0, 0.1], 0.95, "the first being 0"),
            ([0, 2, 1], [1.0, 0.1, 0.1], 0.95, "ascending"),
            ([0, 1], [1.0, np.nan], 0.95, "finite"),
            ([0, 1], [1.0, -0.5], 0.95, "not negative"),
            ([0, 1], [1.0, 0.5], 1.0, "drop is 1.0"),
        ],
    )
    def test_unusable_input_is_refused(self, epochs, losses, drop, message):
        with pytest.raises(ValueError, match=message):
            prediction_epoch(epochs, losses, drop=drop)
