"""Four tokens ahead, one head for each: more to learn from every position, and drafts for speculative decoding."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that predicts four tokens ahead."""
    config = sized.get_config(size)
    config.model.heads.next_tokens = 4
    config.model.pointer = False
    config.model.counts = 0
    return config
