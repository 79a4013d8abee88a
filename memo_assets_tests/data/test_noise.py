from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memo_assets.data.noise import noisy_labels, template_index

ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "splits_noise.npz")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("percent", [10, 30])
def test_published_label_noise(seed, percent):
    given_index, is_random = noisy_labels(
        ORACLE["noise_true_idx"], ORACLE["noise_nlabels"], percent / 100, seed
    )
    assert given_index.dtype == np.int64
    assert is_random.dtype == bool
    np.testing.assert_array_equal(given_index, ORACLE[f"noise_label_s{seed}_p{percent}"])
    np.testing.assert_array_equal(is_random, ORACLE[f"noise_status_s{seed}_p{percent}"] == 0)


def test_published_templates_of_multiple_choice_questions():
    np.testing.assert_array_equal(template_index(60, 10, 0), ORACLE["arc_template_idx_seed0"])


def test_published_templates_of_ethics_differ_in_number():
    # In the oracle's fake data every third sample is a short scenario (10 templates), the others are posts (5).
    n_templates = [5, 5, 10] * 20
    np.testing.assert_array_equal(template_index(60, n_templates, 0), ORACLE["ethics_template_idx_seed0"])


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(0, 2**32 - 1))
def test_templates_are_drawn_one_after_the_other_from_one_stream(n_templates, seed):
    rng = np.random.RandomState(seed)
    one_by_one = [rng.randint(0, k) for k in n_templates]
    assert template_index(len(n_templates), n_templates, seed).tolist() == one_by_one


def test_without_noise_every_label_stays():
    true = np.arange(50) % 4
    given_index, is_random = noisy_labels(true, np.full(50, 4), 0.0, 0)
    np.testing.assert_array_equal(given_index, true)
    assert not is_random.any()
    assert given_index is not true


def test_without_noise_not_even_a_draw_of_zero_makes_a_label_random(monkeypatch):
    class Zero:
        def random(self):
            return 0.0

        def randint(self, low, _high):
            return low

    monkeypatch.setattr("memo_assets.data.noise.random_state", lambda *_, **__: Zero())
    given_index, is_random = noisy_labels([1, 2], [4, 4], 0.0, 0)
    assert given_index.tolist() == [1, 2]
    assert not is_random.any()
    assert noisy_labels([1, 2], [4, 4], 0.1, 0)[1].all()


def test_full_noise_redraws_every_label_among_all_options():
    given_index, is_random = noisy_labels(np.zeros(4000, int), np.full(4000, 4), 1.0, 5)
    assert is_random.all()
    np.testing.assert_allclose(np.bincount(given_index) / 4000, 0.25, atol=0.03)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), max_size=60),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_noise_stays_within_the_options_and_touches_only_what_it_reports(samples, noise, seed):
    options = np.array([k for k, _ in samples], dtype=int)
    true = np.array([t % k for k, t in samples], dtype=int)
    given_index, is_random = noisy_labels(true, options, noise, seed)
    assert ((given_index >= 0) & (given_index < options)).all()
    np.testing.assert_array_equal(given_index[~is_random], true[~is_random])


@pytest.mark.parametrize(
    ("true", "options", "noise", "seed", "message"),
    [
        ([0, 4], [4, 4], 0.1, 0, "true_index is 4 for sample 1"),
        ([0, -1], [4, 4], 0.1, 0, "true_index is -1 for sample 1"),
        ([0, 0], [4, 0], 0.1, 0, "n_options is 0 for sample 1"),
        ([0, 0, 0], [4, 4], 0.1, 0, r"shape \(3,\), n_options \(2,\)"),
        ([[0]], [[4]], 0.1, 0, "one-dimensional"),
        ([0.5], [4], 0.1, 0, "true_index holds float64"),
        ([0], [4], 1.5, 0, "noise is 1.5"),
        ([0], [4], float("nan"), 0, "noise is nan"),
        ([0], [4], 0.1, -1, "data_seed is -1"),
    ],
)
def test_unusable_label_noise_is_refused(true, options, noise, seed, message):
    with pytest.raises(ValueError, match=message):
        noisy_labels(true, options, noise, seed)


@pytest.mark.parametrize(
    ("n", "n_templates", "seed", "message"),
    [
        (-1, 10, 0, "n is -1"),
        (3, 0, 0, "n_templates is 0 for sample 0"),
        (3, [5, 5], 0, "has shape"),
        (3, 2.5, 0, "n_templates holds float64"),
        (3, 10, 2**32, "data_seed is 4294967296"),
    ],
)
def test_unusable_template_draws_are_refused(n, n_templates, seed, message):
    with pytest.raises(ValueError, match=message):
        template_index(n, n_templates, seed)
