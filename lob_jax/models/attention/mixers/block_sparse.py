"""Block-sparse attention to neighbouring blocks, the first blocks, and blocks at distances of powers of two.

Of n blocks, each sees about local + global + log2(n), and only these are multiplied: the work grows as T log T.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import MASKED, attend, attention_weights, causal_mask
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import AttentionConfig, ModelConfig, full_precision


def distances(config: AttentionConfig, blocks: int) -> list[int]:
    """Return the distances, in blocks, at which a block sees others if there are `blocks` in all.

    They are 0 .. local_blocks - 1, and 1, 2, 4, 8, ... (the log-sparse pattern of Li et al., 2019, in blocks), so that
    information from d blocks back arrives through at most log2(d) layers.
    """
    strided = [2**power for power in range(blocks.bit_length())]
    return [back for back in sorted({*range(config.local_blocks), *strided}) if back < blocks]


def block_pattern(config: AttentionConfig, queries: Positions, keys: Positions) -> jax.Array:
    """Return which keys each query sees, bool [B, 1, T, S], from their positions; causality not included."""
    query_BT1, key_B1S = queries.position_BT[:, :, None] // config.block, keys.position_BT[:, None, :] // config.block
    back_BTS = query_BT1 - key_B1S
    power_BTS = (back_BTS > 0) & ((back_BTS & (back_BTS - 1)) == 0)
    local_BTS = (back_BTS >= 0) & (back_BTS < config.local_blocks)
    return (local_BTS | power_BTS | (key_B1S < config.global_blocks))[:, None]


class BlockSparseAttention(nn.Module):
    """Attend to earlier tokens of the own block, and to all tokens of the blocks that the own block sees."""

    config: ModelConfig

    def __call__(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return mixed_BTNH, see `attention.kind`; blocks are counted from the start of the sequence."""
        del positions
        config = self.config.attention
        B, T, N, H = query_BTNH.shape
        block, full = min(config.block, T), full_precision(query_BTNH.dtype.name)
        # With the axis of heads before that of blocks, the products below read their operands without a transposition.
        query_BNGCH, key_BNGCH, value_BNGCH = (
            jnp.moveaxis(_blocks(x, block), 3, 1)
            for x in (query_BTNH * jnp.asarray(H**-0.5, query_BTNH.dtype), key_BTNH, value_BTNH)
        )
        blocks = query_BNGCH.shape[2]
        backs, firsts = distances(config, blocks), range(min(config.global_blocks, blocks))

        def scores(key_BNGSH: jax.Array) -> jax.Array:
            return jnp.einsum("BNGCH,BNGSH->BNGCS", query_BNGCH, key_BNGSH, preferred_element_type=full)

        seen = [_shown(scores(_shifted(key_BNGCH, back)), back) for back in backs]
        seen += [_shown_first(scores(_repeated(key_BNGCH, first)), first, backs) for first in firsts]
        largest_BNGC1 = functools.reduce(jnp.maximum, [score.max(-1, keepdims=True) for score in seen])
        # The largest score cancels in the softmax, so no gradient needs to pass through it.
        largest_BNGC1 = jax.lax.stop_gradient(largest_BNGC1)
        values = [_shifted(value_BNGCH, back) for back in backs] + [_repeated(value_BNGCH, first) for first in firsts]
        mixed_BNGCH, total_BNGC1 = 0.0, 0.0
        for score_BNGCS, value_BNGSH in zip(seen, values, strict=True):
            weight_BNGCS = jnp.exp(score_BNGCS - largest_BNGC1)
            total_BNGC1 += weight_BNGCS.sum(-1, keepdims=True)
            weight_BNGCS = weight_BNGCS.astype(value_BNGSH.dtype)
            mixed_BNGCH += jnp.einsum("BNGCS,BNGSH->BNGCH", weight_BNGCS, value_BNGSH, preferred_element_type=full)
        mixed_BGCNH = jnp.moveaxis(mixed_BNGCH / total_BNGC1, 1, 3)
        return mixed_BGCNH.reshape(B, -1, N, H)[:, :T].astype(value_BTNH.dtype)

    def weights(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return weight_BNTS, see `attention.kind`: the dense product under the same pattern."""
        return attention_weights(query_BTNH, key_BTNH, mask_BNTS=self._mask(query_BTNH.shape[1]))

    def dense(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array) -> jax.Array:
        """Return mixed_BTNH by a dense product under the same pattern, which tests compare the blocks with."""
        return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=self._mask(query_BTNH.shape[1]))

    def _mask(self, T: int) -> jax.Array:
        from_start = Positions(position_BT=jnp.arange(T)[None])
        return causal_mask(T) & block_pattern(self.config.attention, from_start, from_start)


def _blocks(x_BTNH: jax.Array, block: int) -> jax.Array:
    """Return a sequence in blocks [B, G, C, N, H], the last one padded with zeros."""
    B, T, N, H = x_BTNH.shape
    return jnp.pad(x_BTNH, ((0, 0), (0, -T % block), (0, 0), (0, 0))).reshape(B, -1, block, N, H)


def _shifted(x_BNGCH: jax.Array, back: int) -> jax.Array:
    """Return, for each block, the block `back` blocks earlier; zeros where there is none."""
    if back == 0:
        return x_BNGCH
    return jnp.pad(x_BNGCH, ((0, 0), (0, 0), (back, 0), (0, 0), (0, 0)))[:, :, : x_BNGCH.shape[2]]


def _repeated(x_BNGCH: jax.Array, first: int) -> jax.Array:
    """Return block `first` for each block."""
    return jnp.broadcast_to(x_BNGCH[:, :, first : first + 1], x_BNGCH.shape)


def _shown(score_BNGCS: jax.Array, back: int) -> jax.Array:
    """Mask the scores with the block `back` blocks earlier: missing blocks and, if `back` is 0, future tokens."""
    if back == 0:
        return jnp.where(jnp.tril(jnp.ones(score_BNGCS.shape[-2:], bool)), score_BNGCS, MASKED)
    there_G = jnp.arange(score_BNGCS.shape[2]) >= back
    return jnp.where(there_G[:, None, None], score_BNGCS, MASKED)


def _shown_first(score_BNGCS: jax.Array, first: int, backs: list[int]) -> jax.Array:
    """Mask the scores with block `first` where it is not in the past, or is already seen at one of the distances."""
    back_G = jnp.arange(score_BNGCS.shape[2]) - first
    fresh_G = (back_G > 0) & ~jnp.isin(back_G, jnp.array(backs))
    return jnp.where(fresh_G[:, None, None], score_BNGCS, MASKED)


def pattern(config: ModelConfig, queries: Positions, keys: Positions) -> jax.Array:
    """Return which keys the blocks of queries see, see `block_pattern`."""
    return block_pattern(config.attention, queries, keys)
