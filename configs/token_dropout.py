"""Next tokens from flow of which a tenth is hidden: the model reads MASK there, and predicts every token as before."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained with token dropout."""
    config = sized.get_config(size)
    config.data.augment.token_dropout = 0.1
    return config
