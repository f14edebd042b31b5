"""Causal Linformer: attention to learned summaries of the past, and to the tokens of the query's own block.

Linformer (Wang et al., 2020) multiplies keys and values by learned matrices along the sequence, K' = E K and V' = F V
with a fixed number of rows, and attends to these. In a causal model, E and F may act only on the past: for the queries
of a block they are cut off at its start, which running sums over blocks compute; the tokens of the block itself are
attended to directly. Time and memory grow linearly in T.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models import named
from lob_jax.models.attention.dense import MASKED
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig, full_precision


class LinformerAttention(nn.Module):
    """Attend to the tokens of the own block up to the query, and to summaries of the blocks before it.

    Attributes:
      config: the model; attention.block, attention.summaries (K) and max_seq_length are read.
    """

    config: ModelConfig

    def setup(self) -> None:
        shape = (self.config.attention.summaries, self.config.max_seq_length)
        # With independent signs, a sum of p keys is sqrt(p) times as large as a key; `_scale` divides by that.
        init = nn.initializers.normal(1.0)
        self.key_summary = self.param("key_summary", init, shape, self.config.param_dtype)
        self.value_summary = self.param("value_summary", init, shape, self.config.param_dtype)

    def __call__(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return mixed_BTNH, see `attention.kind`; columns of E and F are indexed from the start of the sequence."""
        del positions
        B, T, N, H = query_BTNH.shape
        block, full = min(self.config.attention.block, T), full_precision(query_BTNH.dtype.name)
        query_GBCNH, key_GBCNH, value_GBCNH = (
            jnp.moveaxis(self._blocks(x, block), 1, 0) for x in (query_BTNH, key_BTNH, value_BTNH)
        )
        blocks, K = query_GBCNH.shape[0], self.config.attention.summaries

        def take(past: tuple, piece: tuple) -> tuple[tuple, jax.Array]:
            """Attend from one block to its past and itself, and add the block to the past."""
            query_BCNH, key_BCNH, value_BCNH, key_KC, value_KC, scale = piece
            key_BKNH, value_BKNH = ((x * scale).astype(query_BCNH.dtype) for x in past)
            weight_BNCS = self._weights(query_BCNH, key_BKNH, key_BCNH, has_past=scale > 0).astype(value_BCNH.dtype)
            equation = "BNCS,BSNH->BCNH"
            mixed_BCNH = jnp.einsum(equation, weight_BNCS[..., :K], value_BKNH, preferred_element_type=full)
            mixed_BCNH += jnp.einsum(equation, weight_BNCS[..., K:], value_BCNH, preferred_element_type=full)
            summed = (_summed(key_KC, key_BCNH), _summed(value_KC, value_BCNH))
            return jax.tree.map(jnp.add, past, summed), mixed_BCNH.astype(value_BCNH.dtype)

        matrices = (self._columns(x, blocks, block, T) for x in (self.key_summary, self.value_summary))
        nothing = (jnp.zeros((B, K, N, H), full),) * 2
        pieces = (query_GBCNH, key_GBCNH, value_GBCNH, *matrices, _scale(blocks, block))
        _, mixed_GBCNH = jax.lax.scan(jax.checkpoint(take), nothing, pieces)
        return jnp.moveaxis(mixed_GBCNH, 0, 1).reshape(B, -1, N, H)[:, :T]

    def weights(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return weight_BNTS, see `attention.kind`: the weight of each summary times its row of F.

        Learned rows may be negative, so weights of the past may be negative and need not sum to one.
        """
        del value_BTNH, positions
        B, T, N, _ = query_BTNH.shape
        block, K = min(self.config.attention.block, T), self.config.attention.summaries
        query_BGCNH, key_BGCNH = self._blocks(query_BTNH, block), self._blocks(key_BTNH, block)
        blocks = query_BGCNH.shape[1]
        scale_G = _scale(blocks, block)
        own_GBKNH = jax.vmap(_summed, (0, 1))(self._columns(self.key_summary, blocks, block, T), key_BGCNH)
        past_GBKNH = (jnp.cumsum(own_GBKNH, axis=0) - own_GBKNH) * scale_G[:, None, None, None, None]
        weigh = jax.vmap(self._weights, (1, 0, 1, 0), 1)
        weight_BGNCS = weigh(query_BGCNH, past_GBKNH.astype(query_BTNH.dtype), key_BGCNH, scale_G > 0)
        row_S, number_G = jnp.arange(blocks * block), jnp.arange(blocks)
        before_GS = (row_S // block < number_G[:, None]) * scale_G[:, None]
        summary_KS = self._columns(self.value_summary, blocks, block, T).swapaxes(0, 1).reshape(K, -1)
        past_BGNCS = jnp.einsum("BGNCK,KS,GS->BGNCS", weight_BGNCS[..., :K], summary_KS, before_GS)
        own_GCS = jax.nn.one_hot(number_G[:, None] * block + jnp.arange(block), blocks * block)
        own_BGNCS = jnp.einsum("BGNCR,GRS->BGNCS", weight_BGNCS[..., K:], own_GCS)
        whole_BNTS = jnp.moveaxis(past_BGNCS + own_BGNCS, 2, 1).reshape(B, N, blocks * block, -1)
        return whole_BNTS[:, :, :T, :T]

    @staticmethod
    def _blocks(x_BTNH: jax.Array, block: int) -> jax.Array:
        B, T, N, H = x_BTNH.shape
        return jnp.pad(x_BTNH, ((0, 0), (0, -T % block), (0, 0), (0, 0))).reshape(B, -1, block, N, H)

    @staticmethod
    def _columns(summary_KL: jax.Array, blocks: int, block: int, T: int) -> jax.Array:
        """Return the first T columns of a matrix in blocks, [G, K, C], padded with zeros."""
        padded_KS = jnp.pad(summary_KL[:, :T], ((0, 0), (0, blocks * block - T)))
        return jnp.swapaxes(padded_KS.reshape(-1, blocks, block), 0, 1)

    @staticmethod
    def _weights(query_BCNH: jax.Array, past_BKNH: jax.Array, key_BCNH: jax.Array, has_past: jax.Array) -> jax.Array:
        """Return the softmax over a block's summaries and its own tokens, [B, N, C, K + C]."""
        full, scale = full_precision(query_BCNH.dtype.name), query_BCNH.shape[-1] ** -0.5
        equation = "BCNH,BSNH->BNCS"
        past_BNCK = scale * jnp.einsum(equation, query_BCNH, past_BKNH, preferred_element_type=full)
        own_BNCC = scale * jnp.einsum(equation, query_BCNH, key_BCNH, preferred_element_type=full)
        past_BNCK = jnp.where(has_past, past_BNCK, MASKED)
        own_BNCC = jnp.where(jnp.tril(jnp.ones(own_BNCC.shape[-2:], bool)), own_BNCC, MASKED)
        return named.softmax(jnp.concatenate([past_BNCK, own_BNCC], axis=-1))


def _summed(summary_KC: jax.Array, x_BCNH: jax.Array) -> jax.Array:
    """Return the contribution of a block to the summaries, [B, K, N, H] in full precision."""
    full = full_precision(x_BCNH.dtype.name)
    return jnp.einsum("KC,BCNH->BKNH", summary_KC.astype(x_BCNH.dtype), x_BCNH, preferred_element_type=full)


def _scale(blocks: int, block: int) -> jax.Array:
    """Return 1 / sqrt(tokens before each block), float32 [G]; 0 for the first block, which has no past."""
    return jnp.array([0.0, *(1 / math.sqrt(number * block) for number in range(1, blocks))], jnp.float32)
