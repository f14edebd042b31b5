"""The PIT of times and its test: right times are uniform, however much orders of a prompt depend on each other."""

import numpy as np
import scipy.stats

from lob_jax.evaluation.paths.resting.uniform import finite_pit, uniform_p


def test_finite_times_are_ranked_among_the_finite_ones():
    draws = np.array([[1.0, 5.0, np.inf, np.inf], [2.0, 2.0, 2.0, np.inf]])
    rng = np.random.default_rng(0)
    found = np.stack([finite_pit(draws, np.array([3.0, 2.0]), rng) for _ in range(400)])
    assert found[:, 0].min() > 1 / 3 and found[:, 0].max() < 2 / 3  # second of three
    assert found[:, 1].min() < 0.05 and found[:, 1].max() > 0.95  # one of four at the same time


def test_finite_times_are_uniform_if_all_are_drawn_alike():
    rng = np.random.default_rng(1)
    times = np.where((comes := rng.random((9_000, 6))) < 0.4, np.ceil(30 * comes), np.inf)
    truth, draws = times[:, 0], times[:, 1:]
    both = np.isfinite(truth) & np.isfinite(draws).any(1)
    values = finite_pit(draws[both], truth[both], rng)
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01


def test_orders_that_depend_on_each_other_do_not_make_the_test_reject():
    rng = np.random.default_rng(2)
    moment = np.repeat(np.arange(60), 20)
    p, naive = [], []
    for _ in range(60):
        values = (rng.random(60)[moment] + 0.02 * rng.random(1200)) % 1.0
        p.append(uniform_p(values, moment, moments=60, block=2, rng=rng))
        naive.append(scipy.stats.chisquare(np.histogram(values, 10, (0, 1))[0]).pvalue)
    assert np.mean(np.array(p) < 0.05) < 0.15 and np.mean(np.array(naive) < 0.05) > 0.9
    assert uniform_p(np.ones(1), np.zeros(1, int), moments=1, block=1, rng=rng) == 1.0


def test_other_values_are_found_out():
    rng = np.random.default_rng(3)
    moment = np.repeat(np.arange(60), 20)
    assert uniform_p(np.sqrt(rng.random(1200)), moment, moments=60, block=2, rng=rng) < 0.01
