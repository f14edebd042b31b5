"""Functions that stay whole in exported programs: each is a call by its name there, and one node in an ONNX graph.

Compilers inline them; names and signatures are what `lob_jax.export.graph.named` recognises.
"""

import jax
import jax.numpy as jnp

NORM_EPSILON = 1e-5


@jax.jit
def layer_norm(x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array) -> jax.Array:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift it (Ba et al., 2016)."""
    # Two passes: the mean of squares minus the squared mean suffers from cancellation if the mean is large.
    x_BTD = x_BTD - x_BTD.mean(-1, keepdims=True)
    variance_BT1 = jnp.square(x_BTD).mean(-1, keepdims=True)
    return x_BTD * jax.lax.rsqrt(variance_BT1 + NORM_EPSILON) * scale_D + bias_D


@jax.jit
def softmax(score_BNTS: jax.Array) -> jax.Array:
    """Return the softmax over the last axis."""
    return jax.nn.softmax(score_BNTS, axis=-1)


@jax.jit
def gelu(x_BTF: jax.Array) -> jax.Array:
    """Return x times the standard normal distribution function of x (Hendrycks and Gimpel, 2016)."""
    return jax.nn.gelu(x_BTF, approximate=False)


@jax.jit
def gelu_by_tanh(x_BTF: jax.Array) -> jax.Array:
    """Return the approximation of `gelu` by tanh (Hendrycks and Gimpel, 2016)."""
    return jax.nn.gelu(x_BTF, approximate=True)
