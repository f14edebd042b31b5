"""Next tokens from windows that are mixed with others: their embeddings and their losses, by the same random shares."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained with mixup."""
    config = sized.get_config(size)
    config.train.mixup = 0.2
    return config
