"""Multinomial logistic regression, for --mode=forecast: the baseline for the other forecasters, trained in a minute."""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the forecaster."""
    config = base.get_config()
    config.forecast.model = "linear"
    config.forecast.learning_rate = 3e-4
    config.model.max_seq_length = 256  # the same forecasts as a transformer with this context, so that they compare
    return config
