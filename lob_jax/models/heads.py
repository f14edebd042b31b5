"""What a model predicts from its stream: the next token, those behind it, the mid price, a place among regimes."""

import math
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.layers import LayerNorm, Linear, weight_init

HEAD_SCALE = 0.5  # first scale of the head's norm, see PredictionHead
DIRECTIONS = 3  # down, flat, up
SMALLEST_NORM = 1e-6  # below which a vector is not brought to length one


@flax.struct.dataclass
class Outlook:
    """What is expected of the mid price at K horizons.

    Attributes:
      direction_BTK3: float32 logits of down, flat and up.
      log_volatility_BTK: float32, log of the realised volatility in ticks, see `data.labels`.
    """

    direction_BTK3: jax.Array
    log_volatility_BTK: jax.Array


class PredictionHead(nn.Module):
    """Turn the last block's output into logits: dense, norm, and the output projection with a bias, see `project`.

    The norm's scale starts at HEAD_SCALE. Normalised features of width D meet weights of standard deviation INIT_STD,
    so logits start with standard deviation s = HEAD_SCALE * INIT_STD * sqrt(D), and the loss about s^2 / 2 above
    ln V: .05 at D = 1024, where a scale of 1 would give .2.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        self.dense = Linear(config.d_model, **dtypes, kernel_init=weight_init())
        self.norm = LayerNorm(config.dtype, initial_scale=HEAD_SCALE)
        if not config.tie_embeddings:
            self.output = self.param("output", weight_init(), (config.vocab_size, config.d_model), config.param_dtype)
        self.bias = self.param("bias", nn.initializers.zeros, (config.vocab_size,), config.param_dtype)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return what the output projection reads, [B, T, D]."""
        return self.norm(self.dense(x_BTD))

    def projection(self, tied_VD: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Return (weight_VD, bias_V); tied_VD is the token table, or None if the head has a projection of its own."""
        return self.output if tied_VD is None else tied_VD, self.bias


class AheadHead(nn.Module):
    """Heads of their own for the tokens behind the next, which share its output projection (Gloeckle et al., 2024).

    Each is dense and norm, like `PredictionHead`; the dense layers are one kernel [D, K, D], K = next_tokens - 1.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return what the output projection reads, [B, T, K, D]: entry k for the token k + 2 places ahead."""
        config = self.config
        shape = (config.heads.next_tokens - 1, config.d_model)
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        ahead_BTKD = Linear(shape, **dtypes, kernel_init=weight_init(), name="each")(x_BTD)
        return LayerNorm(config.dtype, initial_scale=HEAD_SCALE, name="norm")(ahead_BTKD)


class OutlookHead(nn.Module):
    """Direction and volatility of the mid price at each horizon, from one hidden layer that they share."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> Outlook:
        config, full = self.config, self.config.param_dtype
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": full}
        hidden_BTD = jax.nn.gelu(nn.Dense(config.d_model, **dtypes, kernel_init=weight_init(), name="dense")(x_BTD))
        shape = (len(config.heads.outlook_events), DIRECTIONS + 1)
        # Logits and logarithms are few: full precision costs nothing.
        init = nn.initializers.normal(1 / math.sqrt(config.d_model))
        outputs = nn.DenseGeneral(shape, dtype=full, param_dtype=full, kernel_init=init, name="horizons")
        output_BTK4 = outputs(hidden_BTD)
        return Outlook(output_BTK4[..., :DIRECTIONS], output_BTK4[..., DIRECTIONS])


class ContrastiveHead(nn.Module):
    """A projection to unit vectors, for training that brings windows of one regime together (Khosla et al., 2020)."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return vectors of length one, float32, [B, T, contrastive_size]."""
        config, full = self.config, self.config.param_dtype
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": full}
        hidden_BTD = jax.nn.gelu(nn.Dense(config.d_model, **dtypes, kernel_init=weight_init(), name="dense")(x_BTD))
        init = nn.initializers.normal(1 / math.sqrt(config.d_model))
        size = config.heads.contrastive_size
        vector_BTP = nn.Dense(size, dtype=full, param_dtype=full, kernel_init=init, name="vector")(hidden_BTD)
        length_BT1 = jnp.sqrt(jnp.square(vector_BTP).sum(-1, keepdims=True) + SMALLEST_NORM**2)
        return vector_BTP / length_BT1
