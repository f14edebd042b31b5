"""Adversarial training: the loss where the embeddings of a window's tokens have been moved so as to raise it.

With e the embeddings of a window's tokens [T, D] and L its loss, r is added to e within the ball ||r|| <= R, in the l2
norm over all tokens and features of the window:

  fgm  r = R g / ||g|| with g = dL/dr at r = 0 (Miyato, Dai and Goodfellow, 2017);
  pgd  from a random r inside the ball, K steps r <- P(r + a g / ||g||) with g = dL/dr at r and a = 2.5 R / K, where P
       projects onto the ball (Madry et al., 2018).

The radius R = eps ||e|| is relative: a model cannot evade the perturbation by longer embeddings, and eps means the same
for any width and context. Padding is not moved and does not count in ||e||. r is a constant of the loss: no gradient
flows through it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

REACH = 2.5  # of all steps together, in radii, so that the far side of the ball is within reach of any start

Loss = Callable[[jax.Array], jax.Array]  # from what is added to the embeddings [B, T, D] to the sum over windows


def worst_addition(
    loss: Loss, embedded_BTD: jax.Array, real_BT: jax.Array, keys_B: jax.Array, *, kind: str, eps: float, steps: int
) -> jax.Array:
    """Return r_BTD, what raises the loss of each window most within its ball, as found by FGM or PGD.

    Args:
      loss: the sum of the losses of the windows, each of which depends on its own row alone.
      embedded_BTD: the embeddings of the tokens, float32.
      real_BT: which tokens are not padding.
      keys_B: one key per window, for the random start of PGD.
      kind: "fgm" or "pgd".
      eps: radius, relative to the norm of a window's embeddings.
      steps: K, for PGD.
    """
    embedded_BTD = jax.lax.stop_gradient(jnp.where(real_BT[..., None], embedded_BTD, 0))
    radius_B = eps * norms(embedded_BTD)

    def gradient(r_BTD: jax.Array) -> jax.Array:
        return jnp.where(real_BT[..., None], jax.grad(loss)(r_BTD), 0)

    if kind == "fgm":
        found_BTD = ascend(gradient, jnp.zeros_like(embedded_BTD), radius_B=radius_B, step_B=radius_B, steps=1)
    else:
        start_BTD = jnp.where(real_BT[..., None], inside_ball(keys_B, embedded_BTD, radius_B), 0)
        found_BTD = ascend(gradient, start_BTD, radius_B=radius_B, step_B=REACH * radius_B / steps, steps=steps)
    return jax.lax.stop_gradient(found_BTD)


def ascend(
    gradient: Callable[[jax.Array], jax.Array],
    start_BTD: jax.Array,
    *,
    radius_B: jax.Array,
    step_B: jax.Array,
    steps: int,
) -> jax.Array:
    """Return r_BTD after steps of length `step_B` along the gradient, each followed by the projection onto the ball."""

    def step(_: int, r_BTD: jax.Array) -> jax.Array:
        return projected(r_BTD + step_B[:, None, None] * directions(gradient(r_BTD)), radius_B)

    return jax.lax.fori_loop(0, steps, step, start_BTD)


def norms(x_BTD: jax.Array) -> jax.Array:
    """Return the l2 norm of each window, over its tokens and features, [B]."""
    return jnp.sqrt(jnp.square(x_BTD).sum((1, 2)))


def directions(x_BTD: jax.Array) -> jax.Array:
    """Return each window's array with norm 1; zeros if it is zero or not finite."""
    largest_B = jnp.abs(x_BTD).max((1, 2))
    usable_B11 = ((largest_B > 0) & jnp.isfinite(largest_B))[:, None, None]
    # Divided by the largest first, since squares of small numbers would underflow.
    x_BTD = jnp.where(usable_B11, x_BTD / jnp.where(usable_B11, largest_B[:, None, None], 1), 0)
    return x_BTD / jnp.where(usable_B11, norms(x_BTD)[:, None, None], 1)


def projected(r_BTD: jax.Array, radius_B: jax.Array) -> jax.Array:
    """Return the nearest point of each window's ball."""
    norm_B = norms(r_BTD)
    return r_BTD * jnp.where(norm_B > radius_B, radius_B / jnp.where(norm_B > 0, norm_B, 1), 1)[:, None, None]


def inside_ball(keys_B: jax.Array, like_BTD: jax.Array, radius_B: jax.Array) -> jax.Array:
    """Return a random point of each window's ball, uniform over its volume."""
    shape = like_BTD.shape[1:]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        where, far = (jax.random.fold_in(key, number) for number in range(2))
        return jax.random.normal(where, shape, like_BTD.dtype), jax.random.uniform(far, (), like_BTD.dtype)

    normal_BTD, uniform_B = jax.vmap(draw)(keys_B)
    far_B = radius_B * uniform_B ** (1 / (shape[0] * shape[1]))
    return far_B[:, None, None] * directions(normal_BTD)
