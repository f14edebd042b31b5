"""Scores of ensembles against closed forms, cases by hand, and what they must be if the forecast is right."""

import numpy as np
import pytest
import scipy.stats

from lob_jax.evaluation.paths.ensembles import (
    LEVELS,
    covered,
    crps,
    energy_score,
    fewest_draws,
    pinball,
    pit,
    quantiles,
)

NORMAL = scipy.stats.norm


def normal_crps(y):
    """Return the CRPS of the standard normal distribution (Gneiting et al., 2005)."""
    return y * (2 * NORMAL.cdf(y) - 1) + 2 * NORMAL.pdf(y) - 1 / np.sqrt(np.pi)


def test_the_crps_of_many_draws_is_the_closed_form_of_a_normal():
    truth_N = np.array([-2.5, 0.0, 0.3, 1.7])
    draws_P = NORMAL.ppf((np.arange(20_000) + 0.5) / 20_000)
    np.testing.assert_allclose(crps(np.tile(draws_P, (4, 1)), truth_N), normal_crps(truth_N), atol=2e-4)


def test_the_crps_of_few_draws_is_right_on_average():
    rng, truth = np.random.default_rng(0), 0.8
    found = crps(rng.standard_normal((100_000, 3)), np.full(100_000, truth))
    assert abs(found.mean() - normal_crps(truth)) < 4 * found.std() / np.sqrt(len(found))


def test_scores_by_hand():
    np.testing.assert_allclose(
        crps(np.array([[0.0, 2.0], [5.0, 1.0], [3.0, 3.0]]), np.array([1.0, 0.0, 1.0])), [0, 1, 2]
    )
    draws = np.array([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]])
    np.testing.assert_allclose(energy_score(draws, np.array([[0.0, 0.0], [4.0, 5.0]])), [0, 5], atol=1e-7)
    lost = pinball(np.array([[1.0, 1.0]]), np.array([3.0]), (0.25, 0.5))
    np.testing.assert_allclose(lost, [[0.5, 1.0]])
    np.testing.assert_allclose(pinball(np.array([[1.0, 1.0]]), np.array([0.0]), (0.25, 0.5)), [[0.75, 0.5]])


def test_the_energy_score_of_one_number_is_its_crps():
    rng = np.random.default_rng(1)
    draws_NP, truth_N = rng.standard_normal((5, 30)), rng.standard_normal(5)
    np.testing.assert_allclose(energy_score(draws_NP[..., None], truth_N[:, None]), crps(draws_NP, truth_N), atol=1e-6)


def test_twice_the_pinball_loss_over_all_levels_is_the_crps():
    levels = tuple((np.arange(400) + 0.5) / 400)
    draws = NORMAL.ppf((np.arange(5_000) + 0.5) / 5_000)[None]
    for truth in (-1.0, 0.4):
        lost = pinball(quantiles(draws, levels), np.array([truth]), levels)
        assert 2 * lost.mean() == pytest.approx(normal_crps(truth), abs=2e-3)


@pytest.mark.parametrize(
    "draw", [lambda rng, shape: rng.standard_normal(shape), lambda rng, shape: rng.poisson(0.7, shape)]
)
def test_the_pit_of_a_right_forecast_is_uniform_and_of_a_wrong_one_is_not(draw):
    rng = np.random.default_rng(2)
    draws_NP, truth_N = draw(rng, (4_000, 9)).astype(float), draw(rng, 4_000).astype(float)
    assert scipy.stats.kstest(pit(draws_NP, truth_N, rng), "uniform").pvalue > 0.01
    for wrong in (draws_NP + 0.3, 2 * draws_NP):
        assert scipy.stats.kstest(pit(wrong, truth_N, rng), "uniform").pvalue < 1e-6


def test_a_band_covers_as_often_as_it_says():
    """With 19 draws, the 90 % band is between the least and the greatest of them."""
    assert [fewest_draws(band) for band in (0.5, 0.8, 0.95)] == [3, 9, 39]
    rng = np.random.default_rng(3)
    draws_NP, truth_N = rng.standard_normal((10_000, 19)), rng.standard_normal(10_000)
    np.testing.assert_array_equal(
        covered(draws_NP, truth_N, 0.9), (draws_NP.min(1) <= truth_N) & (truth_N <= draws_NP.max(1))
    )
    for band in (0.5, 0.8, 0.9):
        assert covered(draws_NP, truth_N, band).mean() == pytest.approx(band, abs=0.013)
    below = (truth_N[:, None] < quantiles(draws_NP, LEVELS)).mean(0)
    np.testing.assert_allclose(below, LEVELS, atol=0.013)
