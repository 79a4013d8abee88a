"""PSMI against the published values, an independent package, scipy and values worked out by hand."""

from dataclasses import FrozenInstanceError
from math import exp, log, pi
from pathlib import Path
from typing import Literal

import numpy as np
import psmi as authors_package
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from memo_assets.measures import psmi as module
from memo_assets.measures import psmi_sums
from memo_assets.measures.psmi import Psmi, psmi, psmi_of_layers

PUBLISHED = np.load(Path(__file__).parents[1] / "oracles" / "psmi.npz")
STATISTICS = {"mean": "mean", "low": "min", "high": "max", "sd": "std"}
TOLERANCE = {"mean": 1e-6, "low": 1e-5, "high": 1e-5, "sd": 5e-6}


def published(case: str, dtype: type = np.float64) -> Psmi:
    hidden = PUBLISHED[f"{case}_X"].astype(dtype)
    return psmi(hidden, PUBLISHED[f"{case}_y"], directions=PUBLISHED[f"{case}_theta"])


def some_states(n: int = 60, d: int = 5, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    return rng.standard_normal((n, d)) + 0.8 * rng.standard_normal((n_classes, d))[labels], labels


def by_scipy(hidden: np.ndarray, labels: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Pointwise mutual information [N, K], one class after the other."""
    x = hidden @ directions.T
    log_density, log_prior = [], []
    for c in np.unique(labels):
        own = x[labels == c]
        log_density.append(norm.logpdf(x, own.mean(axis=0), own.std(axis=0, ddof=1)))
        log_prior.append(np.log(np.mean(labels == c)))
    given_label = np.choose(np.unique(labels, return_inverse=True)[1][:, None], log_density)
    return given_label - logsumexp(np.array(log_density) + np.array(log_prior)[:, None, None], axis=0)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("case", ["easy", "sep", "far"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_published_values(case: str, statistic: str, dtype: type) -> None:
    found = getattr(published(case, dtype), statistic)
    reference = PUBLISHED[f"{case}_ref_{STATISTICS[statistic]}"]
    finite = np.isfinite(reference)
    assert finite.sum() >= len(reference) - 2
    tolerance = 1e-4 if case == "far" and statistic in {"low", "high"} else TOLERANCE[statistic]
    np.testing.assert_allclose(found[finite], reference[finite], rtol=0, atol=tolerance)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("case", ["easy", "sep", "far"])
def test_double_precision_values(case: str, statistic: str) -> None:
    found = getattr(published(case), statistic)
    np.testing.assert_allclose(found, PUBLISHED[f"{case}_f64_{STATISTICS[statistic]}"], rtol=1e-9, atol=1e-12)


def test_samples_far_from_every_class_have_finite_scores() -> None:
    mislabelled, outlier = PUBLISHED["far_special_idx"]
    assert PUBLISHED["far_ref_mean"][mislabelled] == -np.inf
    assert np.isnan(PUBLISHED["far_ref_mean"][outlier])
    found = published("far")
    assert found.mean[mislabelled] == pytest.approx(-20.94176475)
    # Alone far out, the outlier is sure to be of its own class, the one it widened: -log of 320 in 900.
    n_own = int((PUBLISHED["far_y"] == PUBLISHED["far_y"][outlier]).sum())
    assert n_own == 320
    for values in (found.mean, found.low, found.high):
        assert values[outlier] == pytest.approx(log(900 / 320), rel=1e-12)
    assert found.sd[outlier] == pytest.approx(0, abs=1e-7)


def test_one_direction_and_two_classes_by_hand() -> None:
    # Projections on (1, 0): class 0 has mean 1 and variance 2, class 1 mean 12 and variance 8 (both unbiased).
    hidden = np.array([[0.0, 5], [10, -3], [2, 8], [14, 0]])
    labels = [0, 1, 0, 1]

    def density(x: float, mean: float, variance: float) -> float:
        return exp(-((x - mean) ** 2) / (2 * variance)) / (2 * pi * variance) ** 0.5

    expected = []
    for x, label in [(0, 0), (10, 1), (2, 0), (14, 1)]:
        of_class = [density(x, 1, 2), density(x, 12, 8)]
        expected.append(log(of_class[label]) - log(0.5 * of_class[0] + 0.5 * of_class[1]))
    found = psmi(hidden, labels, directions=[[1, 0]])
    for values in (found.mean, found.low, found.high):
        np.testing.assert_allclose(values, expected, rtol=1e-13)
    np.testing.assert_allclose(found.sd, 0, atol=1e-15)
    # Half-way between two classes of equal spread nothing is known: both say log 1.
    middle = psmi([[-1.0], [0], [1], [9], [10], [11], [5], [5]], [0, 0, 0, 1, 1, 1, 0, 1], directions=[[1.0]])
    np.testing.assert_allclose(middle.mean[6:], 0, atol=1e-14)


def test_statistics_over_directions_are_those_of_numpy() -> None:
    hidden, labels = some_states()
    directions = np.random.default_rng(1).standard_normal((37, 5))
    pmi = by_scipy(hidden, labels, directions)
    found = psmi(hidden, labels, directions=directions)
    np.testing.assert_allclose(found.mean, pmi.mean(axis=1), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.sd, pmi.std(axis=1), rtol=1e-11)
    np.testing.assert_allclose(found.low, np.quantile(pmi, 0.01, axis=1), rtol=1e-11)
    np.testing.assert_allclose(found.high, np.quantile(pmi, 0.99, axis=1), rtol=1e-11)


@pytest.mark.parametrize("n_directions", [1, 2, 100, 101, 102, 1000])
def test_blocks_change_nothing_and_bound_memory(monkeypatch: pytest.MonkeyPatch, n_directions: int) -> None:
    hidden, labels = some_states()
    whole = psmi(hidden, labels, n_directions=n_directions)
    sizes = []
    pointwise = psmi_sums._pointwise

    def watched(x: torch.Tensor, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        sizes.append(x.numel())
        return pointwise(x, *args, **kwargs)

    monkeypatch.setattr(psmi_sums, "_pointwise", watched)
    monkeypatch.setattr(psmi_sums, "_PMI_CELLS", 420)  # 7 directions of 60 samples
    monkeypatch.setattr(psmi_sums, "_DENSITY_CELLS_CPU", 100)
    parts = psmi(hidden, labels, n_directions=n_directions)
    assert len(sizes) == -(-n_directions // 7)
    assert max(sizes) <= 420
    for statistic in STATISTICS:
        np.testing.assert_allclose(
            getattr(parts, statistic), getattr(whole, statistic), rtol=1e-11, atol=1e-12
        )


def test_agrees_with_the_authors_package() -> None:
    hidden, labels = some_states(n=90, d=8, n_classes=4)
    package = authors_package.PSMI(n_estimators=200).fit(hidden, labels)
    # The package divides the variance of a class by n, the published code by n - 1.
    spread = package.std_per_label
    assert spread is not None
    for c in spread:
        n = int((labels == c).sum())
        spread[c] = spread[c] * np.sqrt(n / (n - 1))
    mean, sd, every = package.transform(hidden, labels)
    assert package.thetas is not None
    found = psmi(hidden, labels, directions=package.thetas)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.sd, sd, rtol=1e-10)
    np.testing.assert_allclose(found.low, np.quantile(every, 0.01, axis=1), rtol=1e-10)


@settings(max_examples=20, deadline=None)
@given(
    shift=st.floats(-100, 100), scale=st.floats(0.01, 100), length=st.floats(0.1, 10), seed=st.integers(0, 99)
)
def test_depends_neither_on_origin_nor_on_scale_nor_on_order(
    shift: float, scale: float, length: float, seed: int
) -> None:
    hidden, labels = some_states(seed=seed)
    directions = np.random.default_rng(seed).standard_normal((20, 5))
    order = np.random.default_rng(seed).permutation(len(labels))
    found = psmi(hidden, labels, directions=directions)
    moved = psmi(scale * hidden[order] + shift, labels[order], directions=length * directions)
    np.testing.assert_allclose(moved.mean, found.mean[order], atol=1e-8)
    np.testing.assert_allclose(moved.low, found.low[order], atol=1e-8)
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()
    assert (found.high <= log(3) + 1e-12).all()  # three classes of one size: at most -log(1 / 3)


def test_a_wrong_label_has_a_negative_score() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    hidden = rng.standard_normal((200, 4)) + 5 * labels[:, None]
    labels[7] = 1 - labels[7]
    found = psmi(hidden, labels)
    assert found.mean[7] < -1
    assert found.mean.argmin() == 7
    assert np.quantile(found.mean, 0.05) > 0.1


def test_the_same_seed_gives_the_same_scores() -> None:
    hidden, labels = some_states()
    first, again = (
        psmi(hidden, labels, n_directions=30, seed=5),
        psmi(hidden, labels, n_directions=30, seed=5),
    )
    np.testing.assert_array_equal(first.mean, again.mean)
    other = psmi(hidden, labels, n_directions=30, seed=6)
    assert np.abs(first.mean - other.mean).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_and_arrays_give_the_same(dtype: torch.dtype) -> None:
    hidden, labels = some_states()
    tensor = torch.from_numpy(hidden).to(dtype).requires_grad_()
    before = tensor.detach().clone()
    found = psmi(tensor, torch.from_numpy(labels), n_directions=50)
    expected = psmi(before.double().numpy(), labels, n_directions=50)
    for statistic in STATISTICS:
        values = getattr(found, statistic)
        assert isinstance(values, np.ndarray)
        assert values.dtype == np.float64
        tolerance = 1e-12 if dtype == torch.float64 else 2e-6
        np.testing.assert_allclose(values, getattr(expected, statistic), rtol=tolerance, atol=tolerance)
    assert torch.equal(tensor, before)
    with pytest.raises(FrozenInstanceError):
        found.mean = found.low  # pyright: ignore[reportAttributeAccessIssue]


def test_classes_only_check_and_number_the_labels() -> None:
    hidden, labels = some_states()
    found = psmi(hidden, labels, n_directions=20)
    renamed = psmi(hidden, np.array(["C", "A", "B"])[labels], n_directions=20, classes=["A", "B", "C"])
    np.testing.assert_allclose(renamed.mean, found.mean, rtol=1e-10, atol=1e-12)


def test_a_class_of_identical_hidden_states_has_finite_scores() -> None:
    hidden, labels = some_states(n=30)
    hidden[labels == 1] = [3.0, -1, 4, 1, 5]
    found = psmi(hidden, labels, n_directions=200)
    for statistic in STATISTICS:
        assert np.isfinite(getattr(found, statistic)).all()
    # At its own narrow peak a class is certain: -log of a third. The others are not disturbed by the peak.
    np.testing.assert_allclose(found.mean[labels == 1], log(3), atol=1e-4)
    assert (found.low[labels == 1] > 1).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_identical_hidden_states_tell_nothing(value: float) -> None:
    hidden = np.full((12, 6), value) * np.linspace(1, 3, 6)
    found = psmi(hidden, np.arange(12) % 3, n_directions=50)
    for statistic in STATISTICS:
        np.testing.assert_allclose(getattr(found, statistic), 0, atol=1e-5)


def test_what_cannot_be_scored_is_refused() -> None:
    hidden, labels = some_states()
    with pytest.raises(ValueError, match="n_directions is 0"):
        psmi(hidden, labels, n_directions=0)
    with pytest.raises(ValueError, match="directions have width 4 but the hidden states have width 5"):
        psmi(hidden, labels, directions=np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"labels have shape \(59,\) but there are 60 hidden states"):
        psmi(hidden, labels[1:])
    with pytest.raises(ValueError, match=r"\{8: 1\}: leave these samples out"):
        psmi(hidden, [8, *labels[1:]])
    with pytest.raises(ValueError, match="the one class"):
        psmi(hidden, labels * 0)
    with pytest.raises(ValueError, match=r"labels hold \[2\], which are not among the classes"):
        psmi(hidden, labels, classes=[0, 1])
    hidden[[2, 3], 1] = np.nan
    with pytest.raises(ValueError, match="nan or inf in 2 of its 60 rows"):
        psmi(hidden, labels)


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_auto_stops_at_the_first_block_where_the_lowest_scores_have_settled(noise: float) -> None:
    hidden, labels = some_states(n=200, d=40, n_classes=4)
    hidden = hidden + noise * np.random.default_rng(3).standard_normal(hidden.shape)
    found = psmi(hidden, labels, n_directions="auto", seed=5)
    # The rule of the authors' package, on the scores of more and more directions.
    expected = module.MAX_DIRECTIONS
    for blocks in range(2, 21):
        now = psmi(hidden, labels, n_directions=500 * blocks, seed=5).mean
        half = psmi(hidden, labels, n_directions=500 * (blocks // 2), seed=5).mean
        lowest = np.argsort(now)[:10]
        if np.mean(np.abs((half[lowest] - now[lowest]) / now[lowest])) <= 0.05:
            expected = 500 * blocks
            break
    assert found.n_directions == expected
    fixed = psmi(hidden, labels, n_directions=expected, seed=5)
    assert fixed.n_directions == expected
    for name in ("mean", "low", "high", "sd"):
        np.testing.assert_allclose(getattr(found, name), getattr(fixed, name), rtol=1e-9, atol=1e-12)


def test_auto_ends_where_scores_never_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, labels = some_states()
    monkeypatch.setattr(module, "AUTO_CHANGE", -1.0)
    monkeypatch.setattr(module, "MAX_DIRECTIONS", 1500)
    assert psmi(hidden, labels, n_directions="auto").n_directions == 1500


@pytest.mark.parametrize("n_directions", [50, "auto"])
def test_layers_of_any_width_have_the_scores_that_each_has_alone(n_directions: int | Literal["auto"]) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 40)
    layers = [rng.normal(size=(40, width)) for width in (6, 6, 9, 6)]
    together = list(psmi_of_layers(iter(layers), labels, n_directions=n_directions, seed=2))
    assert len(together) == 4
    for found, hidden in zip(together, layers, strict=True):
        alone = psmi(hidden, labels, n_directions=n_directions, seed=2)
        assert found.n_directions == alone.n_directions
        for statistic in ("mean", "low", "high", "sd"):
            np.testing.assert_array_equal(getattr(found, statistic), getattr(alone, statistic))
