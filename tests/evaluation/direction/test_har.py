"""The regression on past volatility: known weights are found, and no forecast is below what was seen."""

import numpy as np

from lob_jax.evaluation.direction.har import fit_har, har_forecast


def test_the_weights_of_an_exact_distribution_are_found():
    past = np.random.default_rng(0).lognormal(size=(50, 3))
    har = fit_har(past, past @ [0.2, 0.3, 0.4] + 0.1)
    np.testing.assert_allclose(har.weights, [0.2, 0.3, 0.4, 0.1], rtol=1e-6)
    np.testing.assert_allclose(har_forecast(har, np.array([[1.0, 2.0, 3.0]])), [0.2 + 0.6 + 1.2 + 0.1])


def test_no_forecast_is_below_the_least_seen():
    har = fit_har(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 3.0, 5.0]))
    np.testing.assert_allclose(har_forecast(har, np.array([[-4.0], [2.5]])), [1.0, 4.0])
