"""Full attention: each token sees all earlier tokens or, in a model that is not causal, all tokens."""

import flax.linen as nn
import jax

from lob_jax.models.attention.backends import attend_causally
from lob_jax.models.attention.dense import attend, attention_weights, causal_mask
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig


class FullAttention(nn.Module):
    """Attend to all earlier tokens or, in a model that is not causal, to all tokens."""

    config: ModelConfig

    def __call__(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return mixed_BTNH, see `attention.kind`; causal attention uses the configured backend."""
        del positions
        if self.config.causal:
            return attend_causally(query_BTNH, key_BTNH, value_BTNH, config=self.config)
        return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=None)

    def weights(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return weight_BNTS, see `attention.kind`."""
        del value_BTNH, positions
        mask_BNTS = causal_mask(query_BTNH.shape[1]) if self.config.causal else None
        return attention_weights(query_BTNH, key_BTNH, mask_BNTS=mask_BNTS)
