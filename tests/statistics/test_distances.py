"""Distances of samples, against SciPy, NumPy and hand-made cases."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from lob_jax.statistics.distances import (
    DECILES,
    Binning,
    distances,
    distinct_bins,
    frame,
    freedman_diaconis_bins,
    quantiles,
    thresholds,
    weighted_distances,
)


def samples(case: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of different size, of one kind of quantity."""
    rng = np.random.default_rng(seed)
    if case == "continuous":
        return rng.normal(0, 1, 400), rng.normal(0.3, 1.5, 301)
    if case == "integers":
        return rng.poisson(40, 500) * 100.0, rng.poisson(44, 371) * 100.0
    if case == "heavy":
        return rng.standard_t(1, 300) * 1e3, np.append(rng.standard_t(1, 100), 1e12)
    return rng.integers(0, 4, 200).astype(float), rng.integers(1, 6, 50).astype(float)


CASES = ("continuous", "integers", "heavy", "few")


def textbook_l1(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> float:
    """Total variation over bins, each value in the bin above the last edge that is not above it."""
    one, other = (np.searchsorted(edges, sample, side="right") for sample in (first, second))
    found = np.union1d(one, other)
    return 0.5 * sum(abs(np.mean(one == k) - np.mean(other == k)) for k in found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("discrete", [False, True])
def test_against_numpy_and_scipy(case, discrete):
    first, second = samples(case)
    pooled = np.concatenate([first, second])
    found = distances(first, second, discrete=discrete)
    np.testing.assert_allclose(found.w1, wasserstein_distance(first, second) / pooled.std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.ks, ks_2samp(first, second).statistic, rtol=1e-12)
    if case == "heavy" and not discrete:
        return  # NumPy has no memory for so many edges
    edges = np.unique(pooled) if discrete else np.histogram_bin_edges(pooled, "fd")
    np.testing.assert_allclose(found.l1, textbook_l1(first, second, edges), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("discrete", [False, True])
def test_identical_samples_have_distance_zero(case, discrete):
    first, _ = samples(case)
    assert distances(first, np.random.default_rng(1).permutation(first), discrete=discrete) == (0, 0, 0)
    assert distances(first, np.repeat(first, 3), discrete=discrete)[::2] == (0, 0)


@pytest.mark.parametrize("discrete", [False, True])
def test_disjoint_supports(discrete):
    first = np.linspace(0, 1, 50)
    found = distances(first, first + 10, discrete=discrete)
    assert found.l1 == found.ks == 1
    sd = np.concatenate([first, first + 10]).std(ddof=1)
    assert found.w1 == pytest.approx(10 / sd)


def test_by_hand():
    found = distances(np.array([1.0, 1, 2, 4]), np.array([1.0, 2, 2, 2]), discrete=True)
    assert found.l1 == pytest.approx(0.5 * (0.25 + 0.5 + 0.25))
    assert found.ks == pytest.approx(0.25)
    sd = np.std([1, 1, 2, 4, 1, 2, 2, 2], ddof=1)
    assert found.w1 == pytest.approx((0.25 * 1 + 0.25 * 2) / sd)


def test_a_missing_sample():
    some, none = np.array([1.0, 2.0]), np.zeros(0)
    for one, other in ((some, none), (none, some)):
        found = distances(one, other, discrete=False)
        assert found.l1 == found.ks == 1 and np.isnan(found.w1)
    assert np.isnan(distances(none, none, discrete=True)).all()


def test_equal_values_have_no_scale():
    assert distances(np.ones(3), np.ones(5), discrete=False) == (0, 0, 0)


@pytest.mark.parametrize("case", CASES)
def test_weights_stand_for_repeated_values(case):
    first, second = samples(case)
    rng = np.random.default_rng(3)
    value = np.sort(np.concatenate([first, second]))
    a, b = rng.integers(0, 3, (2, len(value)))
    for discrete, binning in ((False, Binning.FREEDMAN_DIACONIS), (True, Binning.DISTINCT)):
        found = weighted_distances(value, frame(value, a + b, binning=binning), a, b)
        expected = distances(np.repeat(value, a), np.repeat(value, b), discrete=discrete)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_quantiles_are_numpys_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    value = np.sort(rng.choice([rng.normal(0, 1, 90), np.floor(rng.normal(0, 3, 90))]))
    weight = rng.integers(0, 3, len(value))
    found = quantiles(value, weight, DECILES)
    np.testing.assert_array_equal(found, np.quantile(np.repeat(value, weight), DECILES))


@pytest.mark.parametrize("seed", range(30))
def test_bins_are_numpys(seed):
    """Values on a grid often lie exactly on an edge: the edges must be rounded as NumPy rounds them."""
    rng = np.random.default_rng(seed)
    value = np.sort(rng.integers(-50, 50 + 40 * seed, rng.integers(1, 400)) * rng.choice([1.0, 0.5, 0.1, 100.0]))
    edges = np.histogram_bin_edges(value, "fd")
    found = freedman_diaconis_bins(value, np.ones(len(value), np.int64))
    np.testing.assert_array_equal(found, np.searchsorted(edges, value, side="right"))


def test_bins_of_no_values():
    assert freedman_diaconis_bins(np.zeros(0), np.zeros(0, np.int64)).tolist() == []
    assert distinct_bins(np.zeros(0)).tolist() == []


def test_a_value_that_several_quantiles_share_has_a_bin_of_its_own():
    edges = thresholds(np.array([1.0, 3, 3, 3, 5]))
    assert np.searchsorted(edges, [0.0, 1, 2, 3, 4, 5], side="right").tolist() == [0, 1, 1, 2, 3, 4]


@pytest.mark.parametrize("binning", [Binning.DECILES, Binning.DISTINCT])
def test_groups_are_averaged_by_their_shares(binning):
    rng = np.random.default_rng(5)
    groups = [(rng.integers(0, 30, 60), rng.integers(5, 30, 20)), (rng.integers(0, 9, 10), np.zeros(0))]
    value, a, edges, expected = [], [], [0], []
    for one, other in groups:
        pooled = np.concatenate([one, other]).astype(float)
        order = np.argsort(pooled, kind="stable")
        value.append(pooled[order])
        a.append((order < len(one)).astype(np.int64))
        edges.append(edges[-1] + len(pooled))
        bins = np.unique(pooled) if binning is Binning.DISTINCT else thresholds(np.quantile(pooled, DECILES))
        l1 = textbook_l1(one, other, bins) if len(other) else 1.0
        w1 = wasserstein_distance(one, other) / pooled.std(ddof=1) if len(other) else 0.0
        expected.append((l1, w1, ks_2samp(one, other).statistic if len(other) else 1.0))
    value, a, edges = np.concatenate(value), np.concatenate(a), np.array(edges)
    found = weighted_distances(value, frame(value, np.ones_like(a), binning=binning, edges=edges), a, 1 - a)
    np.testing.assert_allclose(found, np.average(expected, axis=0, weights=[80, 10]), rtol=1e-12)


def test_groups_without_one_side():
    value, none = np.array([1.0, 2.0]), np.zeros(2, np.int64)
    both = frame(value, np.ones(2, np.int64), binning=Binning.DECILES, edges=np.array([0, 1, 2]))
    assert weighted_distances(value, both, none + 1, none)[::2] == (1, 1)
    assert weighted_distances(value, both, np.array([1, 0]), np.array([0, 1])) == (1, 0, 1)
    assert np.isnan(weighted_distances(value, both, none, none)).all()
