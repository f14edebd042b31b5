"""Causal Linformer: each token attends to its own block and to 64 summaries of the past; the cost grows as T.

It has no key-value cache, so it cannot generate: it is trained and tested on complete windows. Its projections have one
column per position, so the context cannot be lengthened after training.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a Linformer."""
    config = sized.get_config(size)
    config.model.attention.kind = "linformer"
    return config
