"""The Temporal Fusion Transformer, for --mode=forecast: 120 thousand parameters, minutes on a CPU.

On one day of training data, add --config.forecast.clock=False: the test split is at hours that training never saw.
"""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the forecaster."""
    config = base.get_config()
    config.forecast.model = "tft"
    config.model.max_seq_length = 256  # the same forecasts as a transformer with this context, so that they compare
    return config
