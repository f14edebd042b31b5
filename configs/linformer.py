"""Linformer made causal: the past in 64 summaries beside the tokens of a query's own block, in time that grows as T.

It has no cache: it is trained and tested on whole windows. Its projections have a column a position, so a context
cannot be lengthened after training.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a Linformer."""
    config = sized.get_config(size)
    config.model.attention.kind = "linformer"
    return config
