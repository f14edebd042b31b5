"""Linformer made causal: the past in learned summaries, a query's own block token by token.

Linformer (Wang et al., 2020) multiplies keys and values by learned matrices along the sequence, K' = E K and V' = F V
with a fixed number of rows, and attends to these. Causally, E and F may act on the past alone: for the queries of a
block they are cut off at its start, which running sums over blocks give for all blocks at once; the block itself is
attended to as it is. Time and memory grow as T.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import MASKED
from lob_jax.models.attention.places import Places
from lob_jax.models.config import ModelConfig, full_precision


class LinformerAttention(nn.Module):
    """Each token sees its block up to itself, and the blocks before it through summaries of them.

    Attributes:
      config: attention.block, attention.summaries (K) and max_seq_length of it are read.
    """

    config: ModelConfig

    def setup(self) -> None:
        shape = (self.config.attention.summaries, self.config.max_seq_length)
        # Rows of independent signs: a sum of p keys has sqrt(p) times a key's size, which `_scale` takes away again.
        init = nn.initializers.normal(1.0)
        self.key_summary = self.param("key_summary", init, shape, self.config.param_dtype)
        self.value_summary = self.param("value_summary", init, shape, self.config.param_dtype)

    def __call__(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, places: Places) -> jax.Array:
        """Return mixed_BTNH, see `kinds`; columns of the matrices are counted from the sequence's start."""
        del places
        B, T, N, H = query_BTNH.shape
        block, full = min(self.config.attention.block, T), full_precision(query_BTNH.dtype.name)
        query_BGCNH, key_BGCNH, value_BGCNH = (self._blocks(x, block) for x in (query_BTNH, key_BTNH, value_BTNH))
        past_key_BGKNH = self._past(key_BGCNH, self.key_summary, T)
        past_value_BGKNH = self._past(value_BGCNH, self.value_summary, T)
        weight_BGNCS = self._weights(query_BGCNH, past_key_BGKNH, key_BGCNH).astype(value_BTNH.dtype)
        K = self.config.attention.summaries
        equation = "BGNCS,BGSNH->BGCNH"
        mixed_BGCNH = jnp.einsum(equation, weight_BGNCS[..., :K], past_value_BGKNH, preferred_element_type=full)
        mixed_BGCNH += jnp.einsum(equation, weight_BGNCS[..., K:], value_BGCNH, preferred_element_type=full)
        return mixed_BGCNH.reshape(B, -1, N, H)[:, :T].astype(value_BTNH.dtype)

    def weights(self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, places: Places) -> jax.Array:
        """Return weight_BNTS, see `kinds`: a summary's weight times its row of F.

        Learned rows may be negative, so weights of the past need be neither positive nor sum to one.
        """
        B, T, N, _ = query_BTNH.shape
        block, K = min(self.config.attention.block, T), self.config.attention.summaries
        query_BGCNH, key_BGCNH = self._blocks(query_BTNH, block), self._blocks(key_BTNH, block)
        past_key_BGKNH = self._past(key_BGCNH, self.key_summary, T)
        weight_BGNCS = self._weights(query_BGCNH, past_key_BGKNH, key_BGCNH)
        blocks = weight_BGNCS.shape[1]
        column_G, row_S = jnp.arange(blocks), jnp.arange(blocks * block)
        before_GS = (row_S // block < column_G[:, None]) * _scale(blocks, block)[:, None]
        summary_KS = self._columns(self.value_summary, blocks * block, T)
        past_BGNCS = jnp.einsum("BGNCK,KS,GS->BGNCS", weight_BGNCS[..., :K], summary_KS, before_GS)
        own_GCS = jax.nn.one_hot(column_G[:, None] * block + jnp.arange(block), blocks * block)
        own_BGNCS = jnp.einsum("BGNCR,GRS->BGNCS", weight_BGNCS[..., K:], own_GCS)
        whole_BNTS = jnp.moveaxis(past_BGNCS + own_BGNCS, 2, 1).reshape(B, N, blocks * block, -1)
        return whole_BNTS[:, :, :T, :T]

    @staticmethod
    def _blocks(x_BTNH: jax.Array, block: int) -> jax.Array:
        B, T, N, H = x_BTNH.shape
        return jnp.pad(x_BTNH, ((0, 0), (0, -T % block), (0, 0), (0, 0))).reshape(B, -1, block, N, H)

    @staticmethod
    def _columns(summary_KL: jax.Array, padded: int, T: int) -> jax.Array:
        """Return the matrix's first T columns, and zeros up to the padded length."""
        return jnp.pad(summary_KL[:, :T], ((0, 0), (0, padded - T)))

    def _past(self, x_BGCNH: jax.Array, summary_KL: jax.Array, T: int) -> jax.Array:
        """Return the summaries [B, G, K, N, H] of all blocks before each block, scaled by `_scale`."""
        blocks, block = x_BGCNH.shape[1:3]
        summary_KGC = self._columns(summary_KL, blocks * block, T).reshape(-1, blocks, block).astype(x_BGCNH.dtype)
        full = full_precision(x_BGCNH.dtype.name)
        own_BGKNH = jnp.einsum("KGC,BGCNH->BGKNH", summary_KGC, x_BGCNH, preferred_element_type=full)
        before_BGKNH = jnp.pad(jnp.cumsum(own_BGKNH, axis=1), ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))[:, :-1]
        return (before_BGKNH * _scale(blocks, block)[:, None, None, None]).astype(x_BGCNH.dtype)

    def _weights(self, query_BGCNH: jax.Array, past_BGKNH: jax.Array, key_BGCNH: jax.Array) -> jax.Array:
        """Return the softmax over summaries and the block's own tokens, [B, G, N, C, K + C]; block 0 has no past."""
        full, scale = full_precision(query_BGCNH.dtype.name), query_BGCNH.shape[-1] ** -0.5
        equation = "BGCNH,BGSNH->BGNCS"
        past_BGNCK = scale * jnp.einsum(equation, query_BGCNH, past_BGKNH, preferred_element_type=full)
        own_BGNCC = scale * jnp.einsum(equation, query_BGCNH, key_BGCNH, preferred_element_type=full)
        has_past_G = jnp.arange(query_BGCNH.shape[1]) > 0
        past_BGNCK = jnp.where(has_past_G[:, None, None, None], past_BGNCK, MASKED)
        causal_CC = jnp.tril(jnp.ones(own_BGNCC.shape[-2:], bool))
        own_BGNCC = jnp.where(causal_CC, own_BGNCC, MASKED)
        return jax.nn.softmax(jnp.concatenate([past_BGNCK, own_BGNCC], axis=-1), axis=-1)


def _scale(blocks: int, block: int) -> jax.Array:
    """Return 1 / sqrt(tokens before each block), float32 [G]: the first has none."""
    return jnp.array([1 / math.sqrt(max(1, number * block)) for number in range(blocks)], jnp.float32)
