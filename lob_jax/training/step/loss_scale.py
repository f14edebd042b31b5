"""Dynamic loss scaling for float16, whose small gradients would underflow without it.

The scale doubles after GROWTH_STEPS steps with finite gradients, and halves after each step with other gradients
(Micikevicius et al., 2018). bfloat16 has the range of float32 and needs no scaling.
"""

import flax.struct
import jax
import jax.numpy as jnp

FIRST = 2.0**15
LARGEST = 2.0**24
GROWTH_STEPS = 2000


@flax.struct.dataclass
class LossScale:
    """The state of dynamic loss scaling.

    Attributes:
      scale: float32, the factor on the loss.
      steady: int32, steps with finite gradients since the scale changed.
    """

    scale: jax.Array
    steady: jax.Array


def first_scale(dtype: str) -> LossScale | None:
    """Return the initial scale; None for a dtype that needs no scaling."""
    return LossScale(jnp.float32(FIRST), jnp.int32(0)) if dtype == "float16" else None


def after_step(loss_scale: LossScale, finite: jax.Array) -> LossScale:
    """Return the scale for the next step; `finite` says whether the gradients of this step were finite."""
    steady = jnp.where(finite, loss_scale.steady + 1, 0)
    grown = jnp.where(steady >= GROWTH_STEPS, jnp.minimum(2 * loss_scale.scale, LARGEST), loss_scale.scale)
    scale = jnp.where(finite, grown, jnp.maximum(loss_scale.scale / 2, 1.0))
    return LossScale(scale, jnp.where(steady >= GROWTH_STEPS, 0, steady))
