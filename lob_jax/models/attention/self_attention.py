"""Self-attention of a block: projections, rotary positions, and attention of the configured kind."""

from typing import Any

import flax.linen as nn
import jax

from lob_jax.models.attention.dense import attend, attention_weights
from lob_jax.models.attention.held import Cache
from lob_jax.models.attention.kind import KINDS, pattern
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig
from lob_jax.models.embeddings import rotate, rotate_by_time
from lob_jax.models.layers import LayerNorm, Linear, residual_init, weight_init


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values (Vaswani et al., 2017)."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        shape = (3, config.n_heads, config.head_width)
        self.qkv = Linear(shape, **dtypes, kernel_init=weight_init())
        if config.attention.qk_norm:
            self.query_norm, self.key_norm = LayerNorm(config.dtype), LayerNorm(config.dtype)
        self.mix = KINDS[config.attention.kind].module(config)
        self.output = Linear(config.d_model, axis=(-2, -1), **dtypes, kernel_init=residual_init(config))

    def __call__(
        self,
        x_BTD: jax.Array,
        positions: Positions,
        mask_BTS: jax.Array | None,
        cache: Cache | None,
        *,
        layer: int | jax.Array,
    ) -> tuple[jax.Array, Cache | None]:
        """Return what attention adds to the stream, [B, T, D], and the cache with this layer's new keys and values.

        Without a mask or cache, the kind's own module computes the mixture; with either, it is a dense product under
        the given mask, which must be causal, and the kind's pattern. If the collection "attention" is mutable,
        weights_BNTS are stored in it.
        """
        query_BTNH, key_BTNH, value_BTNH = self._project(x_BTD, positions)
        if cache is not None:
            assert mask_BTS is not None  # a cache is always read under a mask, which hides its unfilled slots
            mask_BNTS = self._narrowed(mask_BTS, positions, cache.positions)
            mixed_BTNH, cache = cache.attend(query_BTNH, key_BTNH, value_BTNH, layer=layer, mask_BNTS=mask_BNTS)
        elif mask_BTS is not None:
            mask_BNTS = self._narrowed(mask_BTS, positions, positions)
            mixed_BTNH = attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=mask_BNTS)
        else:
            mixed_BTNH = self.mix(query_BTNH, key_BTNH, value_BTNH, positions)
        if self.is_mutable_collection("attention") and not self.is_initializing() and cache is None:
            if mask_BTS is None:
                weight_BNTS = self.mix.weights(query_BTNH, key_BTNH, value_BTNH, positions)
            else:
                weight_BNTS = attention_weights(query_BTNH, key_BTNH, mask_BNTS=mask_BNTS)
            self.sow("attention", "weights_BNTS", weight_BNTS)
        return self.output(mixed_BTNH), cache

    def _project(self, x_BTD: jax.Array, positions: Positions) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return queries, keys and values, each [B, T, N, H], normalised and rotated as configured."""
        qkv_BT3NH = self.qkv(x_BTD)
        query_BTNH, key_BTNH, value_BTNH = (qkv_BT3NH[:, :, part] for part in range(3))
        if self.config.attention.qk_norm:
            query_BTNH, key_BTNH = self.query_norm(query_BTNH), self.key_norm(key_BTNH)
        if self.config.positions == "rotary":
            query_BTNH, key_BTNH = (rotate(x, positions.position_BT) for x in (query_BTNH, key_BTNH))
        if self.config.positions == "rotary_time":
            clock_BT2 = positions.clock_BT2
            assert clock_BT2 is not None  # ModelConfig.needs_clock
            query_BTNH, key_BTNH = (rotate_by_time(x, positions.position_BT, clock_BT2) for x in (query_BTNH, key_BTNH))
        return query_BTNH, key_BTNH, value_BTNH

    def _narrowed(self, mask_BTS: jax.Array, queries: Positions, keys: Positions) -> jax.Array:
        seen_BNTS = pattern(self.config, queries, keys)
        return mask_BTS[:, None] if seen_BNTS is None else mask_BTS[:, None] & seen_BNTS
