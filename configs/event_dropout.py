"""Next tokens, from windows in which a tenth of the new orders was never entered."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained on thinned flow."""
    config = sized.get_config(size)
    config.data.augment.event_dropout = 0.1
    return config
