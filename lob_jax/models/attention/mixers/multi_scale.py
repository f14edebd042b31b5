"""Multi-scale attention: each head has a horizon in events or in seconds, or none."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import attend, attention_weights, causal_mask
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig

NS = 1_000_000_000  # per second


def within_horizons(config: ModelConfig, queries: Positions, keys: Positions) -> jax.Array:
    """Return which keys lie within each head's horizon, bool [B, N, T, S]; causality not included.

    Each of K horizons applies to N / K heads, in order. A horizon of e events shows the tokens of a query's own event
    and of the e events before it; a horizon of s seconds shows tokens whose time is at most s seconds before the
    query's, or later (clocks of feeds may run backwards). A query's own token is always within.

    Args:
      config: the model; attention.horizons is read.
      queries: positions of T tokens.
      keys: positions of S tokens.
    """
    seen_BTS = [_within(span, queries, keys) for span in config.attention.spans()]
    heads = config.n_heads // len(seen_BTS)
    return jnp.repeat(jnp.stack(jnp.broadcast_arrays(*seen_BTS), axis=1), heads, axis=1)


def _within(span: tuple[int | None, float | None], queries: Positions, keys: Positions) -> jax.Array:
    """Return which keys lie within one horizon, bool [B, T, S]."""
    events, seconds = span
    if events is not None:
        assert queries.event_BT is not None and keys.event_BT is not None  # ModelConfig.needs_events
        return queries.event_BT[:, :, None] - keys.event_BT[:, None, :] <= events
    if seconds is not None:
        assert queries.clock_BT2 is not None and keys.clock_BT2 is not None  # ModelConfig.needs_clock
        # In integers: float32 cannot resolve nanoseconds within a second, let alone within a day.
        ago_BTS2 = queries.clock_BT2[:, :, None] - keys.clock_BT2[:, None, :]
        whole_BTS, rest_BTS = ago_BTS2[..., 0] - (ago_BTS2[..., 1] < 0), ago_BTS2[..., 1] % NS
        most, most_ns = divmod(round(seconds * NS), NS)
        return (whole_BTS < most) | ((whole_BTS == most) & (rest_BTS <= most_ns))
    return jnp.ones((*queries.position_BT.shape, keys.position_BT.shape[1]), bool)


class MultiScaleAttention(nn.Module):
    """Attend, in each head, to the earlier tokens within its horizon; see `within_horizons`."""

    config: ModelConfig

    def __call__(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return mixed_BTNH, see `attention.kind`."""
        return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=self._mask(positions))

    def weights(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return weight_BNTS, see `attention.kind`."""
        return attention_weights(query_BTNH, key_BTNH, mask_BNTS=self._mask(positions))

    def _mask(self, positions: Positions) -> jax.Array:
        return causal_mask(positions.position_BT.shape[1]) & within_horizons(self.config, positions, positions)
