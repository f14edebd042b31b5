"""Prediction heads: the next token, the tokens after it, the mid price, and a projection for contrastive training."""

import math
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models import gaps, named
from lob_jax.models.config import ModelConfig
from lob_jax.models.layers import LayerNorm, Linear, weight_init
from lob_jax.models.pointer import CANDIDATES, LEVEL_WEIGHTS, Projection
from lob_jax.tokens.vocabulary import CLASS_SIZE, CONTINUATION

HEAD_SCALE = 0.5  # initial scale of the head's norm, see PredictionHead
DIRECTIONS = 3  # down, flat, up
DIGITS = (3, 10)  # places of a code of further digits, and digits
SMALLEST_NORM = 1e-6  # shorter vectors are not scaled up to unit length


@flax.struct.dataclass
class Outlook:
    """Predictions of the mid price at K horizons.

    Attributes:
      direction_BTK3: float32 logits of down, flat and up.
      log_volatility_BTK: float32, logarithm of the realised volatility in ticks, see `data.labels`.
    """

    direction_BTK3: jax.Array
    log_volatility_BTK: jax.Array


class PredictionHead(nn.Module):
    """Turn the last block's output into logits: dense layer, norm, output projection with a bias, see `project`.

    The norm's scale starts at HEAD_SCALE. Normalised features of width D meet weights of standard deviation INIT_STD,
    so logits start with standard deviation s = HEAD_SCALE * INIT_STD * sqrt(D), and the loss starts about s^2 / 2
    above ln V: 0.05 for D = 1024, where a scale of 1 would give 0.2.
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
        if config.digits_rank:
            wide = nn.initializers.normal(1 / math.sqrt(config.d_model))
            self.digits = self.param("digits", weight_init(), (*DIGITS, config.digits_rank), config.param_dtype)
            self.digits_bias = self.param("digits_bias", nn.initializers.zeros, DIGITS, config.param_dtype)
            self.digits_input = self.param(
                "digits_input", wide, (config.digits_rank, config.d_model), config.param_dtype
            )
        if config.gap_components:
            N = config.gap_components * gaps.PARTS
            self.gaps = self.param("gaps", weight_init(), (N, config.d_model), config.param_dtype)
            initial = nn.initializers.constant(gaps.initial_bias(config.gap_components))
            self.gaps_bias = self.param("gaps_bias", initial, (N,), config.param_dtype)
        if config.pointer:
            self.pointer = self.param("pointer", weight_init(), (CANDIDATES, config.d_model), config.param_dtype)
            zeros, full = nn.initializers.zeros, config.param_dtype
            self.pointer_bias = self.param("pointer_bias", zeros, (CANDIDATES,), full)
            self.level = self.param("level", zeros, (LEVEL_WEIGHTS, config.d_model), full)
            self.level_bias = self.param("level_bias", zeros, (LEVEL_WEIGHTS,), full)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return the input of the output projection, [B, T, D]."""
        return self.norm(self.dense(x_BTD))

    def projection(self, tied_VD: jax.Array | None) -> Projection:
        """Return the output projection; tied_VD is the token embedding, or None if the projection is untied."""
        # Parameters that a compiled program closes over are NumPy arrays, which have no .at.
        weight_VD, bias_V = jnp.asarray(self.output if tied_VD is None else tied_VD), jnp.asarray(self.bias)
        if self.config.digits_rank:
            further = slice(CONTINUATION, CONTINUATION + CLASS_SIZE)
            weight_VD = weight_VD.at[further].set(sum_of_digits(self.digits) @ self.digits_input)
            bias_V = bias_V.at[further].set(sum_of_digits(self.digits_bias))
        projection = Projection(weight_VD, bias_V)
        if self.config.gap_components:
            projection = projection._replace(weight_ND=self.gaps, bias_N=self.gaps_bias)
        if self.config.pointer:
            projection = projection._replace(weight_CD=self.pointer, bias_C=self.pointer_bias)
            projection = projection._replace(weight_WD=self.level, bias_W=self.level_bias)
        return projection


def sum_of_digits(parts_PN: jax.Array) -> jax.Array:
    """Return the sum over the three places of each code, 000 to 999, from a row for each place and digit.

    [3, 10, ...] becomes [1000, ...].
    """
    hundreds, tens, units = parts_PN
    return (hundreds[:, None, None] + tens[:, None] + units).reshape(CLASS_SIZE, *parts_PN.shape[2:])


def initial_biases(config: ModelConfig, count_V: np.ndarray) -> dict[str, np.ndarray]:
    """Return the biases of the output projection that predict the frequencies of tokens, by name.

    One is added to each count. Further digits have the frequencies of each place's digits, as if places were
    independent; their sum over all codes is that of the counts.

    Args:
      config: the model.
      count_V: int [V], occurrences of each token.
    """
    share_V = (count_V + 1) / (count_V + 1).sum()
    biases = {"bias": np.log(share_V)}
    if config.digits_rank:
        share_HTU = share_V[CONTINUATION : CONTINUATION + CLASS_SIZE].reshape(10, 10, 10)
        of_places = [share_HTU.sum((1, 2)), share_HTU.sum((0, 2)), share_HTU.sum((0, 1))]
        digits = np.log(np.stack(of_places))
        digits[1:] -= np.log(share_HTU.sum())  # counted once
        biases["digits_bias"] = digits
    return biases


class AheadHead(nn.Module):
    """Heads for the tokens after the next one, which share its output projection (Gloeckle et al., 2024).

    Each head is a dense layer and a norm, as in `PredictionHead`. The dense layers are one kernel [D, K, D] with
    K = next_tokens - 1; the norm is shared.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return the input of the output projection, [B, T, K, D]; entry k predicts the token k + 2 positions ahead."""
        config = self.config
        shape = (config.heads.next_tokens - 1, config.d_model)
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        ahead_BTKD = Linear(shape, **dtypes, kernel_init=weight_init(), name="each")(x_BTD)
        return LayerNorm(config.dtype, initial_scale=HEAD_SCALE, name="norm")(ahead_BTKD)


class OutlookHead(nn.Module):
    """Predict direction and volatility of the mid price at each horizon, from one shared hidden layer."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> Outlook:
        config, full = self.config, self.config.param_dtype
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": full}
        hidden_BTD = nn.Dense(config.d_model, **dtypes, kernel_init=weight_init(), name="dense")(x_BTD)
        hidden_BTD = named.gelu_by_tanh(hidden_BTD)
        shape = (len(config.heads.outlook_events), DIRECTIONS + 1)
        # The outputs are few, so full precision costs nothing.
        init = nn.initializers.normal(1 / math.sqrt(config.d_model))
        outputs = nn.DenseGeneral(shape, dtype=full, param_dtype=full, kernel_init=init, name="horizons")
        output_BTK4 = outputs(hidden_BTD)
        return Outlook(output_BTK4[..., :DIRECTIONS], output_BTK4[..., DIRECTIONS])


class ContrastiveHead(nn.Module):
    """Project to unit vectors, which contrastive training compares, see `training.step.contrastive`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return unit vectors, float32 [B, T, contrastive_size]."""
        config, full = self.config, self.config.param_dtype
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": full}
        hidden_BTD = nn.Dense(config.d_model, **dtypes, kernel_init=weight_init(), name="dense")(x_BTD)
        hidden_BTD = named.gelu_by_tanh(hidden_BTD)
        init = nn.initializers.normal(1 / math.sqrt(config.d_model))
        size = config.heads.contrastive_size
        vector_BTP = nn.Dense(size, dtype=full, param_dtype=full, kernel_init=init, name="vector")(hidden_BTD)
        # Added inside the root, since the gradient of sqrt is infinite at 0.
        length_BT1 = jnp.sqrt(jnp.square(vector_BTP).sum(-1, keepdims=True) + SMALLEST_NORM**2)
        return vector_BTP / length_BT1
