"""Conditioned on the market regime before each token: terciles of volatility by halves of the spread.

With --config.model.regime=prefix, the regime before the window is given once, as a token before its first one.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model conditioned on the market regime."""
    config = sized.get_config(size)
    config.model.regime = "added"
    return config
