"""Multinomial logistic regression, for --mode=forecast: what the others have to beat, in a minute."""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the forecaster."""
    config = base.get_config()
    config.forecast.model = "linear"
    config.forecast.learning_rate = 3e-4
    config.model.max_seq_length = 256  # tokens in front of every anchor, so that a transformer has the same examples
    return config
