"""Functions that stay whole in exported programs: each is a call by its name there, and one node in an ONNX graph.

Compilers inline them; names and signatures are what `lob_jax.export.graph.named` recognises.
"""

import math

import jax
import jax.numpy as jnp

NORM_EPSILON = 1e-5


@jax.jit
def layer_norm(x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array) -> jax.Array:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift it (Ba et al., 2016)."""
    return _layer_norm(x_BTD, scale_D, bias_D)


@jax.custom_vjp
def _layer_norm(x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array) -> jax.Array:
    # Two passes: the mean of squares minus the squared mean suffers from cancellation if the mean is large.
    x_BTD = x_BTD - x_BTD.mean(-1, keepdims=True)
    variance_BT1 = jnp.square(x_BTD).mean(-1, keepdims=True)
    return x_BTD * jax.lax.rsqrt(variance_BT1 + NORM_EPSILON) * scale_D + bias_D


def _layer_norm_forward(x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array) -> tuple[jax.Array, tuple]:
    return _layer_norm(x_BTD, scale_D, bias_D), (x_BTD, scale_D)


def _layer_norm_backward(kept: tuple[jax.Array, jax.Array], gradient_BTD: jax.Array) -> tuple:
    """Return the gradients, from moments that are computed once: a GPU's compiler would do so in each kernel.

    With n the normalised input and h the gradient of it, the input's is (h - mean(h) - n mean(h n)) / deviation.
    """
    x_BTD, scale_D = kept
    mean_BT1 = x_BTD.mean(-1, keepdims=True)
    variance_BT1 = jnp.square(x_BTD - mean_BT1).mean(-1, keepdims=True)
    mean_BT1, slope_BT1 = jax.lax.optimization_barrier((mean_BT1, jax.lax.rsqrt(variance_BT1 + NORM_EPSILON)))
    normal_BTD = (x_BTD - mean_BT1) * slope_BT1
    scaled_BTD = gradient_BTD * scale_D
    along_BT1 = (scaled_BTD * normal_BTD).mean(-1, keepdims=True)
    x_gradient_BTD = (scaled_BTD - scaled_BTD.mean(-1, keepdims=True) - normal_BTD * along_BT1) * slope_BT1
    batch = tuple(range(gradient_BTD.ndim - 1))
    return x_gradient_BTD, (gradient_BTD * normal_BTD).sum(batch), gradient_BTD.sum(batch)


_layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@jax.jit
def softmax(score_BNTS: jax.Array) -> jax.Array:
    """Return the softmax over the last axis."""
    return jax.nn.softmax(score_BNTS, axis=-1)


@jax.jit
def gelu(x_BTF: jax.Array) -> jax.Array:
    """Return x times the standard normal distribution function of x (Hendrycks and Gimpel, 2016)."""
    return _gelu(x_BTF)


@jax.custom_vjp
def _gelu(x_BTF: jax.Array) -> jax.Array:
    return jax.nn.gelu(x_BTF, approximate=False)


def _gelu_forward(x_BTF: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _gelu(x_BTF), x_BTF


def _gelu_backward(x_BTF: jax.Array, gradient_BTF: jax.Array) -> tuple[jax.Array]:
    """Return the gradient from the input alone, where differentiation by JAX would keep two more arrays."""
    full = x_BTF.astype(jnp.promote_types(x_BTF.dtype, jnp.float32))
    density_BTF = jnp.exp(-0.5 * jnp.square(full)) / math.sqrt(2 * math.pi)
    slope_BTF = jax.scipy.stats.norm.cdf(full) + full * density_BTF
    return ((gradient_BTF.astype(full.dtype) * slope_BTF).astype(x_BTF.dtype),)


_gelu.defvjp(_gelu_forward, _gelu_backward)


@jax.jit
def gelu_by_tanh(x_BTF: jax.Array) -> jax.Array:
    """Return the approximation of `gelu` by tanh (Hendrycks and Gimpel, 2016)."""
    return jax.nn.gelu(x_BTF, approximate=True)


@jax.jit
def lstm(
    x_BTD: jax.Array,
    hidden_BU: jax.Array,
    cell_BU: jax.Array,
    kernel_DG: jax.Array,
    recurrent_UG: jax.Array,
    bias_G: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the outputs [B, T, U] of a long short-term memory, the last output and the last cell.

    Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000). The gates are joined in ONNX's order:
    input, output, forget, cell.
    """

    def step(state: tuple[jax.Array, jax.Array], x_BD: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        hidden_BU, cell_BU = state
        gates = jnp.split(x_BD @ kernel_DG + hidden_BU @ recurrent_UG + bias_G, 4, axis=-1)
        enter_BU, leave_BU, keep_BU = (jax.nn.sigmoid(gate) for gate in gates[:3])
        cell_BU = keep_BU * cell_BU + enter_BU * jnp.tanh(gates[3])
        hidden_BU = leave_BU * jnp.tanh(cell_BU)
        return (hidden_BU, cell_BU), hidden_BU

    (hidden_BU, cell_BU), outputs_TBU = jax.lax.scan(step, (hidden_BU, cell_BU), x_BTD.swapaxes(0, 1))
    return outputs_TBU.swapaxes(0, 1), hidden_BU, cell_BU
