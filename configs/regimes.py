"""Conditioned on the market's regime: terciles of volatility by halves of spread, known before each token.

--config.model.regime=prefix gives it once, in front of the window, as what is known before it.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is told the market's regime."""
    config = sized.get_config(size)
    config.model.regime = "added"
    return config
