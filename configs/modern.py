"""As newer language models, and with everything that pays on a single day: see BUILD_NOTES.md for what each is worth.

Rotary positions (half of each head by elapsed time), SwiGLU, normalised queries and keys, Muon; book, flow and queue as
inputs, candidates for the next token, embeddings by parts. SwiGLU has a third matrix, so its hidden layer is two thirds
as wide, rounded down to a multiple of 32.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a size with all of this."""
    config = sized.get_config(size)
    config.model.positions = "rotary_time"
    config.model.activation = "swiglu"
    config.model.d_ff = config.model.d_ff * 2 // 3 // 32 * 32
    config.model.attention.qk_norm = True
    config.model.mask = "book"
    config.model.book_state = config.model.flow_state = config.model.queue_state = True
    config.model.pointer = config.model.token_parts = True
    config.model.digits_rank = 4
    config.train.optimizer = "muon"
    return config
