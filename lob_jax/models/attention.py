"""Causal self-attention and its cache of keys and values.

Scores are summed and softmaxed in float32 whatever the dtype of the model. A row's softmax gives what is masked a
weight of exactly zero, so nothing leaks from the future, not even a rounding error.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig, full_precision
from lob_jax.models.embeddings import rotate
from lob_jax.models.layers import residual_init, weight_init

MASKED = -1e30  # score of what may not be attended: far below any real one, yet finite


@flax.struct.dataclass
class KVCache:
    """Keys and values of the tokens seen so far, in S slots of which the first `length` are filled.

    Every row of a batch advances in lockstep. A cache is a value: a call returns a new one.

    Attributes:
      key_LBNSH: keys, rotary positions already applied, in the model's dtype.
      value_LBNSH: values.
      length: int32 scalar, slots filled. A caller keeps length + new tokens <= S: beyond it, writes would land on
        earlier slots.
    """

    key_LBNSH: jax.Array
    value_LBNSH: jax.Array
    length: jax.Array

    def write(self, key_BTNH: jax.Array, value_BTNH: jax.Array, *, layer: int) -> "KVCache":
        """Return the cache with a layer's new keys and values behind the filled slots; length is left as it is."""
        at = (layer, 0, 0, self.length, 0)
        # One update of the whole array, rather than of a layer's slice, is done in place inside a jitted loop.
        return self.replace(
            key_LBNSH=jax.lax.dynamic_update_slice(self.key_LBNSH, jnp.swapaxes(key_BTNH, 1, 2)[None], at),
            value_LBNSH=jax.lax.dynamic_update_slice(self.value_LBNSH, jnp.swapaxes(value_BTNH, 1, 2)[None], at),
        )


def visible_slots(queries: int, slots: int, filled: int | jax.Array, *, mask_BTS: jax.Array | None = None) -> jax.Array:
    """Return which slots each query may see, bool [B or 1, T, S]: its own, and those before that the mask allows.

    Query t is stored in slot filled + t. The mask can only narrow what is causal. Its own slot a query always sees:
    a softmax over nothing would spread over everything, the future included.
    """
    own_1T1 = (filled + jnp.arange(queries))[None, :, None]
    slot_11S = jnp.arange(slots)[None, None, :]
    if mask_BTS is None:
        return slot_11S <= own_1T1
    return (slot_11S == own_1T1) | ((slot_11S < own_1T1) & mask_BTS)


def attend(
    query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, mask_BTS: jax.Array | None
) -> jax.Array:
    """Return softmax(q k / sqrt(H)) v [B, T, N, H] within a sequence, S = T; plainly causal if there is no mask."""
    T = query_BTNH.shape[1]
    scale, full = query_BTNH.shape[-1] ** -0.5, full_precision(query_BTNH.dtype.name)
    score_BNTS = jnp.einsum("BTNH,BSNH->BNTS", query_BTNH, key_BTNH, preferred_element_type=full)
    visible_BTS = jnp.tril(jnp.ones((1, T, T), bool)) if mask_BTS is None else mask_BTS
    score_BNTS = jnp.where(visible_BTS[:, None], scale * score_BNTS, MASKED)
    weight_BNTS = jax.nn.softmax(score_BNTS, axis=-1).astype(value_BTNH.dtype)
    return jnp.einsum("BNTS,BSNH->BTNH", weight_BNTS, value_BTNH)


def attend_cached(
    query_BTNH: jax.Array, key_BNSH: jax.Array, value_BNSH: jax.Array, *, mask_BTS: jax.Array
) -> jax.Array:
    """Return softmax(q k / sqrt(H)) v [B, T, N, H] over the slots of a cache that the mask shows.

    With heads in front of slots both products read the cache as it lies: on a CPU a decoding step took a third of the
    time that it took with slots in front, where each step transposed the whole cache.
    """
    scale = query_BTNH.shape[-1] ** -0.5
    full = full_precision(query_BTNH.dtype.name)
    score_BNTS = jnp.einsum("BTNH,BNSH->BNTS", query_BTNH, key_BNSH, preferred_element_type=full)
    score_BNTS = jnp.where(mask_BTS[:, None], scale * score_BNTS, MASKED)
    weight_BNTS = jax.nn.softmax(score_BNTS, axis=-1).astype(value_BNSH.dtype)
    return jnp.einsum("BNTS,BNSH->BTNH", weight_BNTS, value_BNSH)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values (Vaswani et al., 2017)."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        positions_BT: jax.Array,
        mask_BTS: jax.Array | None,
        cache: KVCache | None,
        *,
        layer: int,
    ) -> tuple[jax.Array, KVCache | None]:
        """Return what attention adds to the stream, [B, T, D], and the cache with this layer's slots written."""
        config = self.config
        shape = (3, config.n_heads, config.head_size)
        dtypes = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        qkv_BT3NH = nn.DenseGeneral(shape, **dtypes, kernel_init=weight_init(), name="qkv")(x_BTD)
        query_BTNH, key_BTNH, value_BTNH = (qkv_BT3NH[:, :, part] for part in range(3))
        if config.positions == "rotary":
            query_BTNH, key_BTNH = rotate(query_BTNH, positions_BT), rotate(key_BTNH, positions_BT)
        if cache is None:
            mixed_BTNH = attend(query_BTNH, key_BTNH, value_BTNH, mask_BTS=mask_BTS)
        else:
            cache = cache.write(key_BTNH, value_BTNH, layer=layer)
            mixed_BTNH = attend_cached(query_BTNH, cache.key_LBNSH[layer], cache.value_LBNSH[layer], mask_BTS=mask_BTS)
        output = nn.DenseGeneral(
            config.d_model, axis=(-2, -1), **dtypes, kernel_init=residual_init(config), name="output"
        )
        return output(mixed_BTNH), cache
