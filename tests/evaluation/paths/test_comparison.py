"""The test of Diebold and Mariano, and the interval of the block bootstrap, against SciPy and by simulation."""

import numpy as np
import pytest
import scipy.stats

from lob_jax.errors import InputError
from lob_jax.evaluation.paths.comparison import bootstrap_interval, compare_losses, diebold_mariano


def dependent(rng, *shape):
    """Return moving averages of two steps, whose mean is 0."""
    noise = rng.standard_normal((*shape[:-1], shape[-1] + 1))
    return noise[..., 1:] + 0.9 * noise[..., :-1]


def test_without_lags_it_is_students_test():
    off = np.random.default_rng(0).standard_normal(30) + 0.2
    expected = scipy.stats.ttest_1samp(off, 0)
    np.testing.assert_allclose(diebold_mariano(off, lags=0), (expected.statistic, expected.pvalue), rtol=1e-12)


def test_the_long_run_variance_by_hand():
    off = np.array([1.0, 2.0, -1.0, 2.0])  # around their mean 1: 0, 1, -2, 1
    variance = (6 + 2 * 0.5 * (0 - 2 - 2)) / 4
    factor = np.sqrt((4 + 1 - 4 + 2 / 4) / 4)
    assert diebold_mariano(off, lags=1)[0] == pytest.approx(factor / np.sqrt(variance / 4))


def test_equal_forecasts_are_told_apart_no_more_often_than_one_says():
    """Of dependent losses: with lags about as often as 5 %, without them far more often."""
    offs = dependent(np.random.default_rng(1), 300, 120)
    rejected = {lags: np.mean([diebold_mariano(off, lags=lags)[1] < 0.05 for off in offs]) for lags in (0, 6)}
    assert rejected[6] < 0.09 < rejected[0]


def test_the_interval_covers_the_mean_of_dependent_losses():
    rng = np.random.default_rng(2)
    ends = np.array([bootstrap_interval(off, block=8, rng=rng) for off in dependent(rng, 200, 200)])
    assert 0.87 < np.mean((ends[:, 0] < 0) & (ends[:, 1] > 0)) <= 0.99
    alone = np.array([bootstrap_interval(off, block=1, rng=rng) for off in dependent(rng, 50, 200)])
    assert np.diff(ends).mean() > 1.2 * np.diff(alone).mean()


def test_the_better_forecast_is_named():
    rng = np.random.default_rng(3)
    found = compare_losses(rng.random(64), rng.random(64) + 0.4)
    assert found.difference < 0 and found.high < 0 and found.p < 0.01 and found.low < found.difference < found.high
    assert (found.lags, found.block) == (3, 4)
    assert compare_losses(np.ones(5), np.ones(5)).difference == 0 and np.isnan(compare_losses(np.ones(5), np.ones(5)).p)
    with pytest.raises(InputError, match="too few losses"):
        compare_losses(np.ones(2), np.ones(2))
