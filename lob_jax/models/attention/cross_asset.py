"""Attention of one asset's tokens to the earlier tokens of another asset."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models import named
from lob_jax.models.attention.dense import MASKED
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig, full_precision
from lob_jax.models.embeddings import time_phase, turn
from lob_jax.models.layers import residual_init, weight_init


class CrossAssetAttention(nn.Module):
    """Let each token attend to the peer's tokens whose events are strictly before the time known at the token.

    Rows 2b and 2b + 1 of a batch are peers. Events at equal times do not see each other, so that neither asset reads
    what the other did in the same nanosecond. Queries and keys are rotated by time only (see `time_cycles`), since
    positions in two different sequences are not comparable. An additional key with score 0 and value 0 takes the weight
    of a token that sees no peer token or attends to none.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, positions: Positions, peer_seen_BT: jax.Array) -> jax.Array:
        """Return what attention to the peer adds to the stream, [B, T, D].

        Args:
          x_BTD: the stream, B even.
          positions: positions of its tokens; only the clock is read.
          peer_seen_BT: int, how many tokens of the peer's row each token sees, counted from the row's start.

        Raises:
          InputError: the batch size is odd.
        """
        config = self.config
        if x_BTD.shape[0] % 2:
            raise InputError(
                "a row has no peer",
                where="LOBTransformer(tokens_BT)",
                expected="an even batch, rows 2b and 2b + 1 of the same time",
                was=x_BTD.shape[0],
                remedy="give the windows of two instruments in turn",
            )
        dtypes: dict[str, Any] = {
            "dtype": config.dtype,
            "param_dtype": config.param_dtype,
            "kernel_init": weight_init(),
        }
        N, H = config.n_heads, config.head_width
        query_BTNH = nn.DenseGeneral((N, H), **dtypes, name="query")(x_BTD)
        kv_BS2NH = nn.DenseGeneral((2, N, H), **dtypes, name="key_value")(x_BTD)
        assert positions.clock_BT2 is not None  # ModelConfig.needs_clock
        angle_BTK = time_phase(positions.clock_BT2, H // 2)
        query_BTNH, key_BSNH = turn(query_BTNH, angle_BTK), turn(kv_BS2NH[:, :, 0], angle_BTK)
        mixed_BTNH = attend_seen(query_BTNH, _of_peer(key_BSNH), _of_peer(kv_BS2NH[:, :, 1]), seen_BT=peer_seen_BT)
        dtypes["kernel_init"] = residual_init(config)
        return nn.DenseGeneral(config.d_model, axis=(-2, -1), **dtypes, name="output")(mixed_BTNH)


def attend_seen(query_BTNH: jax.Array, key_BSNH: jax.Array, value_BSNH: jax.Array, *, seen_BT: jax.Array) -> jax.Array:
    """Return attention [B, T, N, H] over the first seen_BT values, and a zero value with score 0."""
    scale, full = query_BTNH.shape[-1] ** -0.5, full_precision(query_BTNH.dtype.name)
    score_BNTS = scale * jnp.einsum("BTNH,BSNH->BNTS", query_BTNH, key_BSNH, preferred_element_type=full)
    visible_BTS = jnp.arange(key_BSNH.shape[1]) < seen_BT[..., None]
    score_BNTS = jnp.where(visible_BTS[:, None], score_BNTS, MASKED)
    nothing_BNT1 = jnp.zeros((*score_BNTS.shape[:3], 1), score_BNTS.dtype)
    weight_BNTS = named.softmax(jnp.concatenate([nothing_BNT1, score_BNTS], -1))[..., 1:]
    return jnp.einsum("BNTS,BSNH->BTNH", weight_BNTS.astype(value_BSNH.dtype), value_BSNH)


def _of_peer(x_BTNH: jax.Array) -> jax.Array:
    """Swap rows 2b and 2b + 1."""
    pairs = x_BTNH.reshape(-1, 2, *x_BTNH.shape[1:])
    return pairs[:, ::-1].reshape(x_BTNH.shape)
