"""Figures from sums against NumPy and SciPy on the values themselves."""

import numpy as np
import pytest
import scipy.stats

from lob_jax.statistics import flow_sums


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(0)
    return rng.standard_t(5, 400).cumsum() * 0.1 + 3, np.repeat(np.arange(5), 80)


def test_totals_by_sequence_also_of_nothing():
    value = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert flow_sums.totals(value, np.array([0, 2, 2]), 3).tolist() == [[1, 2], [0, 0], [8, 10]]
    assert flow_sums.totals(np.zeros((0, 3)), np.zeros(0, np.int64), 2).tolist() == [[0, 0, 0]] * 2


def test_shares_count_categories():
    counts = flow_sums.shares(np.array([0, 2, 2]), np.array([0, 0, 1]), count=2, categories=3)
    assert counts.tolist() == [[1, 0, 1], [0, 0, 1]]


def test_correlation_is_pearsons(series):
    x, sequence = series
    y = x**2 + np.sin(np.arange(len(x)))
    sums = flow_sums.pair_sums(x, y, sequence=sequence, count=5)
    assert flow_sums.correlation(sums.sum(axis=0)) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-10)
    each = [scipy.stats.pearsonr(x[sequence == s], y[sequence == s]).statistic for s in range(5)]
    np.testing.assert_allclose(flow_sums.correlation(sums), each, atol=1e-10)


def test_no_correlation_of_a_constant_or_of_few():
    constant = flow_sums.pair_sums(np.full(50, 0.1), np.arange(50), sequence=np.zeros(50, np.int64), count=1)
    few = flow_sums.pair_sums(np.arange(5), np.arange(5), sequence=np.zeros(5, np.int64), count=1)
    assert np.isnan(flow_sums.correlation(constant)).all() and np.isnan(flow_sums.correlation(few)).all()


def test_lagged_pairs_do_not_cross_sequences(series):
    x, sequence = series
    sums = flow_sums.lagged_sums(x, sequence, count=5, lags=(1, 30, 100))
    parts = [x[sequence == s] for s in range(5)]
    for at, lag in enumerate((1, 30)):
        head, tail = np.concatenate([p[:-lag] for p in parts]), np.concatenate([p[lag:] for p in parts])
        expected = np.corrcoef(head, tail)[0, 1]
        assert flow_sums.correlation(sums.sum(axis=0))[at] == pytest.approx(expected, abs=1e-10)
    assert sums[:, 2].sum() == 0  # a lag longer than any sequence


def test_moments_are_scipys(series):
    x, sequence = series
    sums = flow_sums.moment_sums(np.where(np.arange(len(x)) == 3, np.nan, x), sequence, 5).sum(axis=0)
    x = np.delete(x, 3)
    assert flow_sums.variance(sums) == pytest.approx(x.var())
    assert flow_sums.skewness(sums) == pytest.approx(scipy.stats.skew(x), abs=1e-8)
    assert flow_sums.excess_kurtosis(sums) == pytest.approx(scipy.stats.kurtosis(x), abs=1e-8)


def test_ratio_of_too_few_is_unknown():
    result = flow_sums.ratio(np.array([1.0, 1.0, 1.0]), np.array([0.0, 4.0, 20.0]), least=20)
    np.testing.assert_array_equal(result, [np.nan, np.nan, 0.05])
