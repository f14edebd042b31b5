"""What every part of the model is made of: norm, dropout by example, the feed-forward network, the output projection.

Parameters are float32 (float64 in a model in float64, as are the sums below that say float32). A module computes in
config.dtype, except that norms and logits are float32.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig, full_precision

INIT_STD = 0.02  # of every weight that is not said to differ (Radford et al., 2019)
NORM_EPSILON = 1e-5
TRANSPOSED = "transposed"  # collection of weights [F, D], see `Linear`
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


def dropout(x_BTD: jax.Array, keys_B: jax.Array | None, *, site: int | jax.Array, rate: float) -> jax.Array:
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


def weights_first(x_MD: jax.Array, weight_FD: jax.Array) -> jax.Array:
    """Return x W' [M, F] as (W x')', with the weights as the left factor.

    On CPUs XLA packs the right factor anew for each product: those of few rows, M of 2 to 64, take a sixth to a half
    less time when it is the activations that it packs. The barrier keeps XLA from turning the product round again.
    """
    product_FM = jnp.einsum("FD,MD->FM", weight_FD, x_MD, preferred_element_type=full_precision(x_MD.dtype.name))
    return jax.lax.optimization_barrier(product_FM).T


class Linear(nn.DenseGeneral):
    """`nn.DenseGeneral`, which takes its kernel from the collection TRANSPOSED, [F, D], where there is one.

    Where that collection is mutable, it is filled (`transformer.transposed`).
    """

    def __call__(self, inputs: jax.Array) -> jax.Array:
        axes = 1 if isinstance(self.axis, int) else len(self.axis)
        if not self.has_variable(TRANSPOSED, "kernel"):
            y = super().__call__(inputs)
            if self.is_mutable_collection(TRANSPOSED) and not self.is_initializing():
                kernel = self.get_variable("params", "kernel").astype(y.dtype)
                self.put_variable(TRANSPOSED, "kernel", kernel.reshape(math.prod(kernel.shape[:axes]), -1).T)
            return y
        weight_FD, bias = self.get_variable(TRANSPOSED, "kernel"), self.get_variable("params", "bias")
        y_MF = weights_first(inputs.reshape(-1, weight_FD.shape[1]).astype(weight_FD.dtype), weight_FD)
        return y_MF.astype(weight_FD.dtype).reshape(*inputs.shape[:-axes], *bias.shape) + bias.astype(weight_FD.dtype)


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
    """Widen to d_ff, GELU (exact), dropout, narrow back to d_model.

    With "swiglu" a second widened copy, through SiLU, gates the first in GELU's place (Shazeer, 2020).
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, keys_B: jax.Array | None, *, site: int | jax.Array) -> jax.Array:
        config = self.config
        dtypes: dict[str, Any] = {"dtype": config.dtype, "param_dtype": config.param_dtype}
        hidden_BTF = Linear(config.d_ff, **dtypes, kernel_init=weight_init(), name="widen")(x_BTD)
        if config.activation == "swiglu":
            gate_BTF = Linear(config.d_ff, **dtypes, kernel_init=weight_init(), name="gate")(x_BTD)
            hidden_BTF = jax.nn.silu(gate_BTF) * hidden_BTF
        else:
            hidden_BTF = jax.nn.gelu(hidden_BTF, approximate=False)
        narrow = Linear(config.d_model, **dtypes, kernel_init=residual_init(config), name="narrow")
        return narrow(dropout(hidden_BTF, keys_B, site=site, rate=config.dropout))


def project(x_BTD: jax.Array, weight_VD: jax.Array, bias_V: jax.Array, *, first: bool = False) -> jax.Array:
    """Return logits_BTV = x W' + b, float32; `first` for the weights as the left factor, see `weights_first`.

    Sums are float32 even where the factors are bfloat16: rounded logits would blur likely tokens into ties.
    """
    full = bias_V.dtype
    if first:
        logits_MV = weights_first(x_BTD.reshape(-1, x_BTD.shape[-1]), weight_VD.astype(x_BTD.dtype))
        return logits_MV.reshape(*x_BTD.shape[:-1], -1) + bias_V
    return jnp.einsum("BTD,VD->BTV", x_BTD, weight_VD.astype(x_BTD.dtype), preferred_element_type=full) + bias_V
