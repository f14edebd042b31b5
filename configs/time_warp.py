"""Next tokens, from windows whose gaps are stretched and squeezed by a smooth random curve."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained on warped time."""
    config = sized.get_config(size)
    config.data.augment.warp = 0.3
    return config
