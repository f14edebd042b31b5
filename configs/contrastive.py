"""Beside the next token: windows that end in the same regime are brought together, others apart.

The regime is no input here, or there would be nothing to learn.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that tells regimes apart."""
    config = sized.get_config(size)
    config.model.heads.contrastive_size = 64
    config.model.regime = "none"
    return config
