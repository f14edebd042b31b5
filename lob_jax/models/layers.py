"""The layers that the parts of the model share: norm, per-example dropout, feed-forward network, output projection.

Parameters, norms and logits are float32; everything else is computed in config.dtype. In a float64 model, what is said
to be float32 here is float64.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.models import named
from lob_jax.models.config import ModelConfig, full_precision

INIT_STD = 0.02  # the default for weights (Radford et al., 2019)
TRANSPOSED = "transposed"  # collection of weights [F, D] in the dtype of the products, see `Linear`


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
      rate: fraction to drop.

    Nothing is kept for the backward pass, which computes the mask again: `random_words` are cheap enough for it to be
    part of the kernels that read and write x.
    """
    threshold = min(round(rate * 2**32), 2**32 - 1)
    if keys_B is None or threshold == 0:
        return x_BTD
    words_B2 = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, site), (2,), jnp.uint32))(keys_B)
    return _dropped(x_BTD, words_B2, threshold)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dropped(x_BTD: jax.Array, words_B2: jax.Array, threshold: int) -> jax.Array:
    T, D = x_BTD.shape[1:]
    keep_BTD = random_words(words_B2, T, D) >= jnp.uint32(threshold)
    scale = 2**32 / (2**32 - threshold)
    return jnp.where(keep_BTD, x_BTD * jnp.asarray(scale, x_BTD.dtype), jnp.zeros((), x_BTD.dtype))


def _dropped_forward(x_BTD: jax.Array, words_B2: jax.Array, threshold: int) -> tuple[jax.Array, jax.Array]:
    return _dropped(x_BTD, words_B2, threshold), words_B2


def _dropped_backward(threshold: int, words_B2: jax.Array, gradient_BTD: jax.Array) -> tuple[jax.Array, None]:
    return _dropped(gradient_BTD, words_B2, threshold), None


_dropped.defvjp(_dropped_forward, _dropped_backward)


def random_words(words_B2: jax.Array, rows: int, columns: int) -> jax.Array:
    """Return a random number for each place of an array, uint32 [B, rows, columns].

    Args:
      words_B2: two random words per example, uint32.
      rows, columns: the shape.

    A hash of the place, keyed by the words: an integer finaliser of two multiplications (Wellons, 2018, "Prospecting
    for hash functions", with its constants), in front of which and in the middle of which a word is mixed in. It takes
    a tenth of the operations of threefry, the generator that the words are from. It is for dropout alone.
    """
    row_T1 = jax.lax.broadcasted_iota(jnp.uint32, (rows, columns), 0)
    place_TD = row_T1 * jnp.uint32(columns) + jax.lax.broadcasted_iota(jnp.uint32, (rows, columns), 1)
    first_B11, second_B11 = words_B2[:, 0, None, None], words_B2[:, 1, None, None]
    hash_BTD = place_TD + first_B11
    hash_BTD = (hash_BTD ^ (hash_BTD >> 16)) * jnp.uint32(0x7FEB352D)
    hash_BTD = (hash_BTD ^ (hash_BTD >> 15) ^ second_B11) * jnp.uint32(0x846CA68B)
    return hash_BTD ^ (hash_BTD >> 16)


def weights_first(x_MD: jax.Array, weight_FD: jax.Array) -> jax.Array:
    """Return x W' [M, F], summed and returned in full precision.

    In full precision, it is computed as (W x')' with the weights as the left operand. On CPUs, XLA repacks the right
    operand for every product. If that is the activations instead of the weights, products with few rows (M of 2 to 64)
    take a sixth to a half less time. The optimization barrier keeps XLA from swapping the operands back. On a GPU it
    would keep what follows a product from becoming part of its kernel.
    """
    full = full_precision(x_MD.dtype.name)
    if x_MD.dtype != full:
        return jnp.einsum("MD,FD->MF", x_MD, weight_FD, preferred_element_type=full)
    product_FM = jnp.einsum("FD,MD->FM", weight_FD, x_MD, preferred_element_type=full)
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
        return (y_MF.reshape(*inputs.shape[:-axes], *bias.shape) + bias).astype(weight_FD.dtype)


class LayerNorm(nn.Module):
    """Normalise the last axis in float32 and return it in `dtype` (Ba et al., 2016)."""

    dtype: str
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        D, full, shape = x_BTD.shape[-1], full_precision(self.dtype), x_BTD.shape
        scale_D = self.param("scale", nn.initializers.constant(self.initial_scale), (D,), full)
        bias_D = self.param("bias", nn.initializers.zeros, (D,), full)
        if x_BTD.size == D and full != self.dtype:
            # A second row: of a norm and the product that reads it, a GPU's compiler makes one kernel, but four of a
            # single row.
            x_BTD = jnp.pad(x_BTD.reshape(1, D), [(0, 1), (0, 0)])
            return named.layer_norm(x_BTD.astype(full), scale_D, bias_D)[:1].astype(self.dtype).reshape(shape)
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
    if first:
        logits_MV = weights_first(x_BTD.reshape(-1, x_BTD.shape[-1]), weight_VD.astype(x_BTD.dtype))
        return logits_MV.reshape(*x_BTD.shape[:-1], -1) + bias_V
    return _projected(x_BTD, weight_VD) + bias_V


@jax.custom_vjp
def _projected(x_BTD: jax.Array, weight_VD: jax.Array) -> jax.Array:
    """Return x W', accumulated and returned in the dtype of the weights."""
    full = weight_VD.dtype
    return jnp.einsum("BTD,VD->BTV", x_BTD, weight_VD.astype(x_BTD.dtype), preferred_element_type=full)


def _projected_forward(x_BTD: jax.Array, weight_VD: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _projected(x_BTD, weight_VD), (x_BTD, weight_VD)


def _projected_backward(kept: tuple[jax.Array, jax.Array], gradient_BTV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the gradients; with bfloat16 operands, that of the logits is rounded to it before both products.

    Otherwise they would be two products of float32 operands, over the largest array of a step. Its rounding errors are
    independent, and sums are accumulated in float32. float16 has too few exponents for small probabilities.
    """
    x_BTD, weight_VD = kept
    full = weight_VD.dtype
    if x_BTD.dtype == jnp.bfloat16:
        gradient_BTV = gradient_BTV.astype(x_BTD.dtype)
    operand = gradient_BTV.dtype
    product = functools.partial(jax.lax.dot_general, preferred_element_type=full)
    x_gradient_BTD = product(gradient_BTV, weight_VD.astype(operand), (((2,), (0,)), ((), ())))
    weight_gradient_VD = product(gradient_BTV, x_BTD.astype(operand), (((0, 1), (0, 1)), ((), ())))
    return x_gradient_BTD.astype(x_BTD.dtype), weight_gradient_VD


_projected.defvjp(_projected_forward, _projected_backward)
