"""Block-sparse attention: neighbouring blocks, the first one, and blocks at distances of powers of two.

Its cost grows as T log T, so it suits longer contexts: block_sparse.py:small with
--config.model.max_seq_length=8192 --config.data.embargo_events=4104.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model with block-sparse attention."""
    config = sized.get_config(size)
    config.model.attention.kind = "block_sparse"
    return config
