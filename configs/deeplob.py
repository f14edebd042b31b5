"""DeepLOB, for --mode=forecast: 61 thousand parameters, about ten minutes for 1,000 steps on two CPU cores."""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the forecaster."""
    config = base.get_config()
    config.forecast.model = "deeplob"
    config.model.max_seq_length = 256  # the same forecasts as a transformer with this context, so that they compare
    return config
