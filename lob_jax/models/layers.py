"""The layers that the parts of the model share: norm, per-example dropout, feed-forward network, output projection.

Parameters, norms and logits are float32; everything else is computed in config.dtype. In a float64 model, what is said
to be float32 here is float64.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models import named
from lob_jax.models.config import ModelConfig, full_precision

INIT_STD = 0.02  # the default for weights (Radford et al., 2019)
TRANSPOSED = "transposed"  # collection of weights [F, D], see `Linear`
DROPOUT_LEVELS = 2**16  # a dropout rate is rounded to a multiple of 1 / DROPOUT_LEVELS


def weight_init() -> nn.initializers.Initializer:
    """Return the default initialiser of weights: normal with standard deviation INIT_STD."""
    return nn.initializers.normal(INIT_STD)


def residual_init(config: ModelConfig) -> nn.initializers.Initializer:
    """Return the initialiser of a projection whose output is added to the residual stream.

    2L such projections add up; dividing each one's standard deviation by sqrt(2L) keeps the stream's variance
    independent of the depth (Radford et al., 2019).
    """
    return nn.initializers.normal(INIT_STD / math.sqrt(2 * config.n_layers))


def example_keys(key: jax.Array, example_B: jax.Array) -> jax.Array:
    """Return one dropout key per example, keys [B], from the step's key and the examples' numbers.

    An example's key depends on nothing else in the batch, so its mask is the same for any split of the batch. This
    requires a key implementation that vmaps consistently: the default (threefry) does, "rbg" does not.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, example_B)


def dropout(x_BTD: jax.Array, keys_B: jax.Array | None, *, site: int | jax.Array, rate: float) -> jax.Array:
    """Zero a fraction `rate` of x and scale the rest up to keep the mean; return x unchanged if there are no keys.

    Args:
      x_BTD: activations of any width D.
      keys_B: one key per example; None outside training.
      site: number of the layer, so that layers that share the keys have different masks.
      rate: fraction to drop, rounded to a multiple of 1 / 65536.

    Each 32-bit random number serves two activations, which halves the cost of generating them.
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
    """Return x W' [M, F], computed as (W x')' with the weights as the left operand.

    On CPUs, XLA repacks the right operand for every product. If that is the activations instead of the weights,
    products with few rows (M of 2 to 64) take a sixth to a half less time. The optimization barrier keeps XLA from
    swapping the operands back.
    """
    product_FM = jnp.einsum("FD,MD->FM", weight_FD, x_MD, preferred_element_type=full_precision(x_MD.dtype.name))
    return jax.lax.optimization_barrier(product_FM).T


class Linear(nn.DenseGeneral):
    """`nn.DenseGeneral` that prefers a transposed kernel [F, D] from the collection TRANSPOSED, if there is one.

    If that collection is mutable, a call fills it instead, see `transformer.transposed`.
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
    """Normalise the last axis in float32 and return it in `dtype` (Ba et al., 2016)."""

    dtype: str
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        D, full = x_BTD.shape[-1], full_precision(self.dtype)
        scale_D = self.param("scale", nn.initializers.constant(self.initial_scale), (D,), full)
        bias_D = self.param("bias", nn.initializers.zeros, (D,), full)
        return named.layer_norm(x_BTD.astype(full), scale_D, bias_D).astype(self.dtype)


class FeedForward(nn.Module):
    """Project to d_ff, apply exact GELU and dropout, and project back to d_model.

    With "swiglu", a second projection through SiLU gates the first instead of GELU (Shazeer, 2020).
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
            hidden_BTF = named.gelu(hidden_BTF)
        narrow = Linear(config.d_model, **dtypes, kernel_init=residual_init(config), name="narrow")
        return narrow(dropout(hidden_BTF, keys_B, site=site, rate=config.dropout))


def project(x_BTD: jax.Array, weight_VD: jax.Array, bias_V: jax.Array, *, first: bool = False) -> jax.Array:
    """Return logits_BTV = x W' + b, float32; `first` puts the weights on the left, see `weights_first`.

    Sums are accumulated in float32 even for bfloat16 operands: logits rounded to bfloat16 would make likely tokens tie.
    """
    full = bias_V.dtype
    if first:
        logits_MV = weights_first(x_BTD.reshape(-1, x_BTD.shape[-1]), weight_VD.astype(x_BTD.dtype))
        return logits_MV.reshape(*x_BTD.shape[:-1], -1) + bias_V
    return jnp.einsum("BTD,VD->BTV", x_BTD, weight_VD.astype(x_BTD.dtype), preferred_element_type=full) + bias_V
