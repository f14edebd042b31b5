"""What every part of the model is made of: norm, dropout by example, the feed-forward network, the head.

Parameters are float32 (float64 in a model in float64, as are the sums below that say float32). A module computes in
config.dtype, except that norms and logits are float32.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig, full_precision

INIT_STD = 0.02  # of every weight that is not said to differ (Radford et al., 2019)
NORM_EPSILON = 1e-5
HEAD_SCALE = 0.5  # first scale of the head's norm, see PredictionHead
DROPOUT_LEVELS = 2**16  # a dropout rate is rounded to a multiple of 1 / DROPOUT_LEVELS


def weight_init() -> nn.initializers.Initializer:
    """Return the initialiser of an ordinary weight: normal with standard deviation INIT_STD."""
    return nn.initializers.normal(INIT_STD)


def residual_init(config: ModelConfig) -> nn.initializers.Initializer:
    """Return the initialiser of a projection that ends in the residual stream.

    2L such projections add up; dividing each one's standard deviation by sqrt(2L) keeps the stream's variance
    independent of the depth (Radford et al., 2019).
    """
    return nn.initializers.normal(INIT_STD / math.sqrt(2 * config.n_layers))


def example_keys(key: jax.Array, example_B: jax.Array) -> jax.Array:
    """Return one dropout key an example, keys [B], from the step's key and the examples' numbers.

    An example's key depends on nothing else in the batch, so masks stay the same however a batch is split. The key's
    implementation must be one that can be mapped over, as the default (threefry) can and "rbg" cannot.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, example_B)


def dropout(x_BTD: jax.Array, keys_B: jax.Array | None, *, site: int, rate: float) -> jax.Array:
    """Zero a share `rate` of x and scale up the rest, so that the mean stays; x itself if there are no keys.

    Args:
      x_BTD: [B, T, any width].
      keys_B: one key an example; None outside training.
      site: number that tells apart the places which share the keys.
      rate: share to drop, rounded to 1 / 65536.

    One 32-bit draw serves two activations, which halves the cost of the random numbers.
    """
    threshold = min(round(rate * DROPOUT_LEVELS), DROPOUT_LEVELS - 1)
    if keys_B is None or threshold == 0:
        return x_BTD
    _, T, D = x_BTD.shape

    def draw(key: jax.Array) -> jax.Array:
        words = jax.random.bits(jax.random.fold_in(key, site), (T, (D + 1) // 2), jnp.uint32)
        halves = jax.lax.bitcast_convert_type(words, jnp.uint16)
        return halves.reshape(T, -1)[:, :D]

    keep_BTD = jax.vmap(draw)(keys_B) >= threshold
    scale = DROPOUT_LEVELS / (DROPOUT_LEVELS - threshold)
    return jnp.where(keep_BTD, x_BTD * jnp.asarray(scale, x_BTD.dtype), jnp.zeros((), x_BTD.dtype))


class LayerNorm(nn.Module):
    """Normalise the last axis in float32 (Ba et al., 2016), then return it as `dtype`."""

    dtype: str
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        D, full = x_BTD.shape[-1], full_precision(self.dtype)
        scale_D = self.param("scale", nn.initializers.constant(self.initial_scale), (D,), full)
        bias_D = self.param("bias", nn.initializers.zeros, (D,), full)
        x_BTD = x_BTD.astype(full)
        # Two passes: the mean of squares less the squared mean cancels when the mean is large.
        x_BTD = x_BTD - x_BTD.mean(-1, keepdims=True)
        variance_BT1 = jnp.square(x_BTD).mean(-1, keepdims=True)
        return (x_BTD * jax.lax.rsqrt(variance_BT1 + NORM_EPSILON) * scale_D + bias_D).astype(self.dtype)


class FeedForward(nn.Module):
    """Widen to d_ff, GELU (exact), dropout, narrow back to d_model."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, keys_B: jax.Array | None, *, site: int) -> jax.Array:
        config = self.config
        dtypes = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        widen = nn.Dense(config.d_ff, **dtypes, kernel_init=weight_init(), name="widen")
        narrow = nn.Dense(config.d_model, **dtypes, kernel_init=residual_init(config), name="narrow")
        hidden_BTF = jax.nn.gelu(widen(x_BTD), approximate=False)
        return narrow(dropout(hidden_BTF, keys_B, site=site, rate=config.dropout))


def project(x_BTD: jax.Array, weight_VD: jax.Array, bias_V: jax.Array) -> jax.Array:
    """Return logits_BTV = x W' + b, float32.

    Sums are float32 even where the factors are bfloat16: rounded logits would blur likely tokens into ties.
    """
    full = bias_V.dtype
    return jnp.einsum("BTD,VD->BTV", x_BTD, weight_VD.astype(x_BTD.dtype), preferred_element_type=full) + bias_V


class PredictionHead(nn.Module):
    """Turn the last block's output into logits: dense, norm, and the output projection with a bias, see `project`.

    The norm's scale starts at HEAD_SCALE. Normalised features of width D meet weights of standard deviation INIT_STD,
    so logits start with standard deviation s = HEAD_SCALE * INIT_STD * sqrt(D), and the loss about s^2 / 2 above
    ln V: .05 at D = 1024, where a scale of 1 would give .2.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        dtypes = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        self.dense = nn.Dense(config.d_model, **dtypes, kernel_init=weight_init())
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
