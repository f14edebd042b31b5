import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from lob_jax.evaluation.likelihood.bootstrap import Blocks, block_length, interval


def autoregression(rng, count, phi):
    """A stationary AR(1) series of standard normal shocks."""
    noise = rng.standard_normal(count)
    noise[0] /= math.sqrt(1 - phi**2)
    return scipy.signal.lfilter([1], [1, -phi], noise)


def test_a_resample_is_whole_blocks_on_a_circle():
    values = np.arange(1.0, 6)[:, None] ** 2
    blocks = Blocks(length=2, starts=np.array([[0, 4], [3, 3]]), observations=5)
    assert blocks.sums(values).tolist() == [[1 + 4 + 25 + 1], [16 + 25 + 16 + 25]]
    assert blocks.drawn == 4


def test_as_many_blocks_are_drawn_as_fit_and_the_same_for_one_seed():
    first, again = (Blocks.draw(103, 10, resamples=7, rng=np.random.default_rng(3)) for _ in range(2))
    assert first.starts.shape == (7, 10) and first.drawn == 100
    assert (first.starts == again.starts).all() and first.starts.min() >= 0 and first.starts.max() < 103
    assert Blocks.draw(3, 10, resamples=2, rng=np.random.default_rng(0)).drawn == 3  # one block, the whole circle


def test_single_observations_have_the_standard_error_of_a_mean():
    values = np.random.default_rng(1).gamma(2, size=400)
    blocks = Blocks.draw(400, 1, resamples=4000, rng=np.random.default_rng(2))
    means = blocks.sums(values[:, None])[:, 0] / blocks.drawn
    low, high = interval(means)
    error = values.std() / math.sqrt(400)
    assert means.std() == pytest.approx(error, rel=0.05)
    expected = values.mean() + scipy.stats.norm.ppf([0.025, 0.975]) * error
    assert [low, high] == pytest.approx(expected, abs=0.1 * error)


def test_an_interval_of_a_known_sample():
    assert interval(np.arange(1001.0), level=0.9) == pytest.approx([50, 950])
    assert interval(np.full(10, 3.0)) == [3, 3]


# (phi, length, seed): the rule for the circular block bootstrap in arch 8.0.0, `optimal_block_length`, before rounding.
BY_ARCH = {(0.0, 1000, 0): 0.585, (0.5, 1000, 1): 13.101, (0.9, 4000, 2): 67.728, (-0.5, 500, 3): 10.614}


@pytest.mark.parametrize("case", BY_ARCH)
def test_the_block_length_is_that_of_arch_rounded_up(case):
    phi, count, seed = case
    noise = np.random.default_rng(seed).standard_normal(count)
    assert block_length(scipy.signal.lfilter([1], [1, -phi], noise)) == math.ceil(BY_ARCH[case])


def test_block_lengths_of_series_without_a_spectrum():
    assert block_length(np.ones(100)) == block_length(np.array([1.0, 2.0])) == 1
    assert block_length(np.cumsum(np.random.default_rng(0).standard_normal(900))) <= 90  # 3 sqrt(N), for a random walk


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.6])
def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says(phi):
    """Of 400 series of 2,000 dependent observations. For phi = .6 the interval of independent ones covers .65."""
    rng, covered = np.random.default_rng(4), 0
    for _ in range(400):
        series = autoregression(rng, 2000, phi)
        blocks = Blocks.draw(2000, block_length(series), resamples=400, rng=rng)
        low, high = interval(blocks.sums(series[:, None])[:, 0] / blocks.drawn)
        covered += low < 0 < high
    assert 0.9 < covered / 400 < 0.98
