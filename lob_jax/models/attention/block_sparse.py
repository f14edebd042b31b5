"""Block-sparse attention: neighbouring blocks, the first ones, and blocks at distances of powers of two.

Of n blocks each sees about local + global + log2(n): the work is T log T, and only what is seen is multiplied.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import MASKED, attend, attention_weights, causal_mask
from lob_jax.models.attention.places import Places
from lob_jax.models.config import AttentionConfig, ModelConfig, full_precision


def distances(config: AttentionConfig, blocks: int) -> list[int]:
    """Return how many blocks back a block sees, of `blocks` in all: its own and its neighbours, then powers of two.

    They are 0 .. local_blocks - 1, and 1, 2, 4, 8, ... (the log-sparse pattern of Li et al., 2019, by blocks): whatever
    lies d blocks back is reached over at most log2(d) layers.
    """
    strided = [2**power for power in range(blocks.bit_length())]
    return [back for back in sorted({*range(config.local_blocks), *strided}) if back < blocks]


def block_pattern(config: AttentionConfig, queries: Places, keys: Places) -> jax.Array:
    """Return which keys each query sees, bool [B, 1, T, S], by their positions, causality apart."""
    query_BT1, key_B1S = queries.position_BT[:, :, None] // config.block, keys.position_BT[:, None, :] // config.block
    back_BTS = query_BT1 - key_B1S
    power_BTS = (back_BTS > 0) & ((back_BTS & (back_BTS - 1)) == 0)
    local_BTS = (back_BTS >= 0) & (back_BTS < config.local_blocks)
    return (local_BTS | power_BTS | (key_B1S < config.global_blocks))[:, None]


class BlockSparseAttention(nn.Module):
    """Each token sees the tokens before its own in its block, and all of the blocks that its block sees."""

    config: ModelConfig

    def __call__(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, places: Places) -> jax.Array:
        """Return mixed_BTNH, see `kinds`; blocks are counted from the sequence's start."""
        del places
        config = self.config.attention
        B, T, N, H = query_BTNH.shape
        block = min(config.block, T)
        missing = -T % block
        query_BGCNH, key_BGCNH, value_BGCNH = (
            jnp.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0))).reshape(B, -1, block, N, H)
            for x in (query_BTNH, key_BTNH, value_BTNH)
        )
        blocks = query_BGCNH.shape[1]
        backs, firsts = distances(config, blocks), min(config.global_blocks, blocks)
        full = full_precision(query_BTNH.dtype.name)

        def scores(key_BGCNH: jax.Array) -> jax.Array:
            equation = "BGCNH,BGSNH->BGNCS" if key_BGCNH.ndim == 5 else "BGCNH,BSNH->BGNCS"
            return H**-0.5 * jnp.einsum(equation, query_BGCNH, key_BGCNH, preferred_element_type=full)

        seen = [_shown(scores(_shifted(key_BGCNH, back)), back) for back in backs]
        seen += [_shown_first(scores(key_BGCNH[:, first]), first, backs) for first in range(firsts)]
        weight_BGNCS = jax.nn.softmax(jnp.concatenate(seen, axis=-1), axis=-1).astype(value_BTNH.dtype)
        parts = jnp.split(weight_BGNCS, len(seen), axis=-1)
        mixed_BGCNH = jnp.zeros((B, blocks, block, N, H), full)
        for part, back in zip(parts, backs, strict=False):
            shifted = _shifted(value_BGCNH, back)
            mixed_BGCNH += jnp.einsum("BGNCS,BGSNH->BGCNH", part, shifted, preferred_element_type=full)
        for part, first in zip(parts[len(backs) :], range(firsts), strict=True):
            values = value_BGCNH[:, first]
            mixed_BGCNH += jnp.einsum("BGNCS,BSNH->BGCNH", part, values, preferred_element_type=full)
        return mixed_BGCNH.reshape(B, -1, N, H)[:, :T].astype(value_BTNH.dtype)

    def weights(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, places: Places) -> jax.Array:
        """Return weight_BNTS, see `kinds`: the dense product under the same pattern."""
        return attention_weights(query_BTNH, key_BTNH, mask_BNTS=self._mask(query_BTNH.shape[1]))

    def dense(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array) -> jax.Array:
        """Return mixed_BTNH by the dense product under the same pattern: what the blocks are held to."""
        return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=self._mask(query_BTNH.shape[1]))

    def _mask(self, T: int) -> jax.Array:
        from_start = Places(position_BT=jnp.arange(T)[None])
        return causal_mask(T) & block_pattern(self.config.attention, from_start, from_start)


def _shifted(x_BGCNH: jax.Array, back: int) -> jax.Array:
    """Return, at each block, the block so far back; zeros where there is none."""
    if back == 0:
        return x_BGCNH
    return jnp.pad(x_BGCNH, ((0, 0), (back, 0), (0, 0), (0, 0), (0, 0)))[:, : x_BGCNH.shape[1]]


def _shown(score_BGNCS: jax.Array, back: int) -> jax.Array:
    """Mask the scores against blocks so far back: those that are not there, and the future of a block itself."""
    if back == 0:
        return jnp.where(jnp.tril(jnp.ones(score_BGNCS.shape[-2:], bool)), score_BGNCS, MASKED)
    there_G = jnp.arange(score_BGNCS.shape[1]) >= back
    return jnp.where(there_G[:, None, None, None], score_BGNCS, MASKED)


def _shown_first(score_BGNCS: jax.Array, first: int, backs: list[int]) -> jax.Array:
    """Mask the scores against one of the first blocks where it is not past, or is seen at its distance already."""
    back_G = jnp.arange(score_BGNCS.shape[1]) - first
    fresh_G = (back_G > 0) & ~jnp.isin(back_G, jnp.array(backs))
    return jnp.where(fresh_G[:, None, None, None], score_BGNCS, MASKED)
