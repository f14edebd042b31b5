"""Choose the next token of each path: grammar mask, then temperature, then top-k."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Choice(NamedTuple):
    """What was drawn, and what the mask took away.

    Attributes:
      token_B: int32 [B].
      masked_mass_B: float32 [B], the probability that the model gave to forbidden tokens.
    """

    token_B: jax.Array
    masked_mass_B: jax.Array


def keep_top_k(logits_BV: jax.Array, k: int) -> jax.Array:
    """Set all but the k largest logits of each row to -inf; ties with the k-th stay; k = 0 keeps all."""
    if k == 0 or k >= logits_BV.shape[-1]:
        return logits_BV
    kth_B1 = jax.lax.top_k(logits_BV, k)[0][:, -1:]
    return jnp.where(logits_BV >= kth_B1, logits_BV, -jnp.inf)


def choose(keys_B: jax.Array, logits_BV: jax.Array, allowed_BV: jax.Array, *, temperature: float, top_k: int) -> Choice:
    """Draw one token a path, each with its own key, so that a path does not depend on its batch.

    Args:
      keys_B: one typed PRNG key a path.
      logits_BV: float32, unmasked.
      allowed_BV: bool, at least one True in each row.
      temperature: divides the logits; 0 takes the most likely allowed token.
      top_k: how many of the allowed tokens may be drawn; 0 for all.
    """
    masked_BV = jnp.where(allowed_BV, logits_BV, -jnp.inf)
    lost_B = 1.0 - jnp.exp(jax.nn.logsumexp(masked_BV, -1) - jax.nn.logsumexp(logits_BV, -1))
    if temperature == 0:
        token_B = jnp.argmax(masked_BV, -1)
    else:
        token_B = jax.vmap(jax.random.categorical)(keys_B, keep_top_k(masked_BV / temperature, top_k))
    return Choice(token_B.astype(jnp.int32), jnp.maximum(lost_B, 0.0))
