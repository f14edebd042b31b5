"""As newer language models: rotary positions (half of each head by elapsed time), SwiGLU, normalised queries and keys.

SwiGLU has a third matrix, so its hidden layer is two thirds as wide, rounded down to a multiple of 32.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model with rotary_time positions, SwiGLU and qk_norm."""
    config = sized.get_config(size)
    config.model.positions = "rotary_time"
    config.model.activation = "swiglu"
    config.model.d_ff = config.model.d_ff * 2 // 3 // 32 * 32
    config.model.attention.qk_norm = True
    config.model.mask = "book"
    return config
