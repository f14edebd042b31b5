"""Dynamic loss scaling, for float16: its small gradients would vanish, so the loss is scaled up before them.

The scale doubles after GROWTH_STEPS steps with finite gradients and halves at each step without (Micikevicius et al.,
2018). bfloat16 has the range of float32 and needs none.
"""

import flax.struct
import jax
import jax.numpy as jnp

FIRST = 2.0**15
LARGEST = 2.0**24
GROWTH_STEPS = 2000


@flax.struct.dataclass
class LossScale:
    """The scale, float32, and the steps since it changed, int32."""

    scale: jax.Array
    steady: jax.Array


def first_scale(dtype: str) -> LossScale | None:
    """Return the scale that a run begins with; None for a dtype that needs none."""
    return LossScale(jnp.float32(FIRST), jnp.int32(0)) if dtype == "float16" else None


def after_step(loss_scale: LossScale, finite: jax.Array) -> LossScale:
    """Return the scale for the next step; `finite` is whether this one's gradients were."""
    steady = jnp.where(finite, loss_scale.steady + 1, 0)
    grown = jnp.where(steady >= GROWTH_STEPS, jnp.minimum(2 * loss_scale.scale, LARGEST), loss_scale.scale)
    scale = jnp.where(finite, grown, jnp.maximum(loss_scale.scale / 2, 1.0))
    return LossScale(scale, jnp.where(steady >= GROWTH_STEPS, 0, steady))
