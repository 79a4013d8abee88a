from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import iqr

from memo_assets.measures.trajectory import (
    aum,
    calibrated_loss,
    cartography,
    cumulative_loss,
    el2n,
    forgetting,
    lt_iqr,
)

LN3 = np.log(3.0)
# One sample, two options, label 0: p(label) = 3/4, 1/4, 3/4; the third option is missing.
LOGITS = np.array([[[LN3, 0.0, -np.inf]], [[0.0, LN3, -np.inf]], [[LN3, 0.0, -np.inf]]])


def from_right(rights, n=1):
    """Logits [E, n, 2] of samples with label 0 that are right at the given checkpoints."""
    return np.repeat(np.array([[[1.0, 0.0]] if r else [[0.0, 1.0]] for r in rights]), n, axis=1)


class TestByHand:
    def test_el2n(self):
        # |(3/4, 1/4) - (1, 0)| = sqrt(2) / 4, then 3 sqrt(2) / 4.
        expected = np.sqrt(2) * np.array([1 / 4, (1 / 4 + 3 / 4) / 2, (1 / 4 + 3 / 4 + 1 / 4) / 3])
        np.testing.assert_allclose(el2n(LOGITS, [0])[:, 0], expected, rtol=1e-14)

    def test_el2n_keeps_its_digits_for_a_certain_sample(self):
        logits = np.array([[[50.0, 0.0]]])
        assert el2n(logits, [0])[0, 0] == pytest.approx(np.sqrt(2) * np.exp(-50.0), rel=1e-12)

    def test_aum(self):
        np.testing.assert_allclose(aum(LOGITS, [0])[:, 0], [LN3, 0.0, LN3 / 3], atol=1e-15)

    def test_cartography(self):
        mean, sd = cartography(LOGITS, [0])
        np.testing.assert_allclose(mean[:, 0], [3 / 4, 1 / 2, 7 / 12], rtol=1e-14)
        np.testing.assert_allclose(sd[:, 0], [0.0, 1 / 4, np.sqrt(2) / 6], rtol=1e-14)

    def test_variability_of_a_nearly_constant_probability(self):
        # Probabilities near 1 that differ by about 2e-12: a variance from squares would be noise.
        logits = np.array([[[27.0, 0.0]], [[28.0, 0.0]]])
        difference = 1 / (1 + np.exp(-27.0)) - 1 / (1 + np.exp(-28.0))
        assert cartography(logits, [0])[1][1, 0] == pytest.approx(abs(difference) / 2, rel=1e-3)

    @pytest.mark.parametrize(
        ("rights", "expected"),
        [
            ([True, False, True, False], [0, 1, 1, 2]),
            ([True, True, True, True], [0, 0, 0, 0]),
            ([False, False, False, False], [1, 2, 3, 4]),  # never learned: more than any count
            ([False, False, True, True], [1, 2, 0, 0]),
            ([False, True, False, False], [1, 0, 1, 1]),
        ],
    )
    def test_forgetting(self, rights, expected):
        events = forgetting(from_right(rights), [0])
        assert events.dtype == np.int64
        assert events[:, 0].tolist() == expected

    def test_a_tie_is_not_right(self):
        assert forgetting(np.zeros((1, 1, 2)), [0]).item() == 1

    def test_cumulative_loss(self):
        np.testing.assert_array_equal(
            cumulative_loss([[4.0, 1.0], [2.0, 1.0], [1.0, 5.0]]), [[4, 1], [6, 2], [7, 7]]
        )

    def test_lt_iqr(self):
        # Of 0, 4: 3 - 1; of 0, 4, 8: 6 - 2; of 0, 4, 8, 1: quartiles 0.75 and 5.
        np.testing.assert_allclose(lt_iqr([[0.0], [4.0], [8.0], [1.0]])[:, 0], [0, 2, 4, 4.25])

    def test_calibrated_loss(self):
        np.testing.assert_array_equal(calibrated_loss([[4.0, 1.0], [1.0, 1.5]]), [[0, 0], [-3, 0.5]])


class TestPrefixes:
    """Row e of every score is what the same function gives on rows 0..e alone."""

    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5), st.integers(2, 4))
    def test_against_slow_definitions(self, seed, n_epochs, n, n_options):
        rng = np.random.default_rng(seed)
        logits = rng.normal(scale=3, size=(n_epochs, n, n_options + 1))
        logits[:, :, -1] = rng.choice([-np.inf, -1000.0])
        labels, losses = rng.integers(0, n_options, n), rng.exponential(size=(n_epochs, n))
        results = {f.__name__: f(logits, labels) for f in (el2n, aum, forgetting)}
        mean, sd = cartography(logits, labels)
        for e in range(n_epochs):
            for i, label in enumerate(labels):
                rows = logits[: e + 1, i, :n_options]
                p = softmax(rows, axis=1)
                others = np.delete(rows, label, axis=1).max(axis=1)
                right = rows[:, label] > others
                lost = sum(a and not b for a, b in pairwise(right))
                error = np.linalg.norm(p - np.eye(n_options)[label], axis=1)
                assert results["el2n"][e, i] == pytest.approx(error.mean())
                assert results["aum"][e, i] == pytest.approx((rows[:, label] - others).mean())
                assert results["forgetting"][e, i] == (lost if right.any() else e + 1)
                assert mean[e, i] == pytest.approx(p[:, label].mean())
                assert sd[e, i] == pytest.approx(p[:, label].std(), abs=1e-12)
                assert lt_iqr(losses)[e, i] == pytest.approx(iqr(losses[: e + 1, i]), abs=1e-12)
                assert cumulative_loss(losses)[e, i] == pytest.approx(losses[: e + 1, i].sum())

    @pytest.mark.parametrize("function", [el2n, aum, forgetting, cartography])
    def test_later_checkpoints_change_nothing_before(self, function):
        rng = np.random.default_rng(3)
        logits, labels = rng.normal(size=(7, 20, 4)), rng.integers(0, 4, 20)
        whole = np.asarray(function(logits, labels))
        part = np.asarray(function(logits[:4], labels))
        np.testing.assert_array_equal(whole[..., :4, :], part)

    @pytest.mark.parametrize("function", [el2n, aum, forgetting, cartography])
    def test_the_input_is_left_alone(self, function):
        logits = LOGITS.copy()
        function(logits, [0])
        np.testing.assert_array_equal(logits, LOGITS)


class TestRefusals:
    @pytest.mark.parametrize("function", [el2n, aum, forgetting, cartography])
    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (np.zeros((2, 3)), [0, 0, 0], r"logits have shape \(2, 3\)"),
            (np.zeros((0, 3, 2)), [0, 0, 0], "at least one checkpoint"),
            (np.zeros((2, 3, 2)), [0, 0], "give logits"),
            (np.zeros((2, 3, 2)), [0, 2, 0], "Sample 1 has label 2"),
            (LOGITS, [2], "No logit gap for sample 0"),
            (np.full((1, 1, 2), np.nan), [0], "nan"),
        ],
    )
    def test_logits(self, function, logits, labels, message):
        with pytest.raises(ValueError, match=message):
            function(logits, labels)

    @pytest.mark.parametrize("function", [cumulative_loss, lt_iqr, calibrated_loss])
    @pytest.mark.parametrize(
        ("losses", "message"),
        [
            ([1.0, 2.0], r"losses have shape \(2,\)"),
            (np.zeros((0, 3)), "at least one checkpoint"),
            ([[1.0, 2.0], [1.0, np.inf]], "loss of sample 1 at checkpoint 1 is inf"),
        ],
    )
    def test_losses(self, function, losses, message):
        with pytest.raises(ValueError, match=message):
            function(losses)
