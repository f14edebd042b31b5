"""The loss: next-token cross-entropy, in float32, as a weighted sum and its weight."""

import jax
import jax.numpy as jnp


def cross_entropy(logits_BTV: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum): the weighted sum of -log p(target), in nats, and the sum of the weights.

    Sums, not a mean: means of unequal micro-batches do not average to the mean of the whole.

    Args:
      logits_BTV: of any float dtype; they are read as float32.
      targets_BT: int32 token ids below V.
      weights_BT: float32, 0 where a target does not count.
    """
    logits_BTV = logits_BTV.astype(jnp.float32)
    normaliser_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    target_logit_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return jnp.sum((normaliser_BT - target_logit_BT) * weights_BT), jnp.sum(weights_BT)
