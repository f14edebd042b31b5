"""What newer language models do: rotary positions (half of each head by elapsed time), SwiGLU, normalised queries.

SwiGLU's third matrix is paid for by a narrower hidden layer, two thirds of the usual, in whole multiples of 32.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model with elapsed-time rotations, SwiGLU and normalised queries."""
    config = sized.get_config(size)
    config.model.positions = "rotary_time"
    config.model.activation = "swiglu"
    config.model.d_ff = config.model.d_ff * 2 // 3 // 32 * 32
    config.model.attention.qk_norm = True
    return config
