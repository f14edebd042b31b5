"""Dense attention under a mask.

Scores and softmax are float32 whatever the dtype of the model. Masked keys get a weight of exactly zero, so that
nothing leaks from the future, not even a rounding error.
"""

import jax
import jax.numpy as jnp

from lob_jax.models import named
from lob_jax.models.config import full_precision

MASKED = -1e30  # score of a masked key: below any real score, but finite, since -inf minus -inf is NaN


def attention_weights(query_BTNH: jax.Array, key_BTNH: jax.Array, *, mask_BNTS: jax.Array | None) -> jax.Array:
    """Return softmax(q k / sqrt(H)) [B, N, T, S], float32, over the keys that the mask shows (None: all).

    Args:
      query_BTNH: queries.
      key_BTNH: keys, [B, S, N, H].
      mask_BNTS: bool [B or 1, N or 1, T, S], True = visible; each query must see a key.
    """
    scale, full = query_BTNH.shape[-1] ** -0.5, full_precision(query_BTNH.dtype.name)
    score_BNTS = scale * jnp.einsum("BTNH,BSNH->BNTS", query_BTNH, key_BTNH, preferred_element_type=full)
    if mask_BNTS is not None:
        score_BNTS = jnp.where(mask_BNTS, score_BNTS, MASKED)
    return named.softmax(score_BNTS)


def attend(
    query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, mask_BNTS: jax.Array | None
) -> jax.Array:
    """Return the sum of the values weighted by `attention_weights`, [B, T, N, H]."""
    weight_BNTS = attention_weights(query_BTNH, key_BTNH, mask_BNTS=mask_BNTS).astype(value_BTNH.dtype)
    return jnp.einsum("BNTS,BSNH->BTNH", weight_BNTS, value_BTNH)


def heads_first(x_BTNH: jax.Array) -> jax.Array:
    """Return [R, T, H] with R = B * N: the sequences of all heads, grouped by row of the batch."""
    B, T, N, H = x_BTNH.shape
    return jnp.swapaxes(x_BTNH, 1, 2).reshape(B * N, T, H)


def attend_cached(
    query_BTNH: jax.Array, key_RSH: jax.Array, value_RSH: jax.Array, *, mask_BNTS: jax.Array
) -> jax.Array:
    """Return softmax(q k / sqrt(H)) v [B, T, N, H] over the slots of a cache that the mask shows.

    With the axis of heads before that of slots, both products read the cache in its own layout. On a CPU, a decoding
    step took a third of the time that it took with slots first, where each step transposed the entire cache.
    """
    B, T, N, H = query_BTNH.shape
    full = full_precision(query_BTNH.dtype.name)
    score_RTS = jnp.einsum("RTH,RSH->RTS", heads_first(query_BTNH), key_RSH, preferred_element_type=full)
    score_BNTS = jnp.where(mask_BNTS, H**-0.5 * score_RTS.reshape(B, N, T, -1), MASKED)
    weight_BNTS = named.softmax(score_BNTS).astype(value_RSH.dtype)
    mixed_RTH = jnp.einsum("RTS,RSH->RTH", weight_BNTS.reshape(B * N, T, -1), value_RSH)
    return jnp.swapaxes(mixed_RTH.reshape(B, N, T, H), 1, 2)


def causal_mask(T: int) -> jax.Array:
    """Return the causal mask, bool [1, 1, T, T]: each token sees itself and those before it."""
    return jnp.tril(jnp.ones((1, 1, T, T), bool))
