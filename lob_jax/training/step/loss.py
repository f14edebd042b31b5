"""Cross-entropy in float32, over all tokens or over those that may come: a weighted sum, and the sum of the weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.models.config import full_precision
from lob_jax.models.inputs import Conditioning
from lob_jax.models.masking import Masks, places_of, target_nll
from lob_jax.models.pointer import Features, Projection, next_logits


class Within(NamedTuple):
    """The tokens over which a distribution is normalised.

    Attributes:
      known: the arrays of role PLACE at the inputs, see `masking.places_of`.
      masks: the masks of the tokens' grammar.
    """

    known: Conditioning
    masks: Masks


def cross_entropy(
    logits_BTV: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array, within: Within | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum): the weighted sum of -log p(target), in nats, and the sum of the weights.

    Sums are returned since means of micro-batches with unequal weights do not average to the overall mean.

    Args:
      logits_BTV: of any float dtype; converted to float32 unless they are float64.
      targets_BT: int32 token ids below V.
      weights_BT: float32, 0 for targets that are not scored.
      within: the tokens that may come; None for all.
    """
    if within is not None:
        nll_BT = target_nll(logits_BTV, targets_BT, places_of(*within))
        return jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT)
    logits_BTV = logits_BTV.astype(full_precision(logits_BTV.dtype.name))
    return jnp.sum(_nll(logits_BTV, targets_BT) * weights_BT), jnp.sum(weights_BT)


@jax.custom_vjp
def _nll(logits_BTV: jax.Array, targets_BT: jax.Array) -> jax.Array:
    """Return -log p(target) [B, T] under the softmax of logits."""
    return _nll_forward(logits_BTV, targets_BT)[0]


def _nll_forward(logits_BTV: jax.Array, targets_BT: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    normaliser_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    target_logit_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return normaliser_BT - target_logit_BT, (logits_BTV, targets_BT, normaliser_BT)


def _nll_backward(kept: tuple[jax.Array, ...], gradient_BT: jax.Array) -> tuple[jax.Array, None]:
    """Return the gradient of the logits, the softmax minus 1 at the target, in one pass without a scatter."""
    logits_BTV, targets_BT, normaliser_BT = kept
    probability_BTV = jnp.exp(logits_BTV - normaliser_BT[..., None])
    token_V = jnp.arange(logits_BTV.shape[-1], dtype=targets_BT.dtype)
    hit_BTV = token_V == targets_BT[..., None]
    scaled_BTV = probability_BTV * gradient_BT[..., None]
    # Not by a product with the hits: a CPU's compiler would write them as numbers.
    return jnp.where(hit_BTV, scaled_BTV - gradient_BT[..., None], scaled_BTV), None


_nll.defvjp(_nll_forward, _nll_backward)


def blockwise_cross_entropy(
    features: Features,
    projection: Projection,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    within: Within | None = None,
    *,
    block: int,
) -> tuple[jax.Array, jax.Array]:
    """Return `cross_entropy` of the next tokens' logits, computed `block` positions of each window at a time.

    All logits together are the largest array of a step: B T V float32, and as much again for their gradient. Here the
    logits of a block are computed, summed and discarded, and recomputed in the backward pass: a third more work on the
    output projection, and V / D times less memory after the last layer.

    Args:
      features: what logits are computed from.
      projection: the parameters for it.
      targets_BT: int32 token ids below V.
      weights_BT: float32, 0 for targets that are not scored.
      within: the tokens that may come; None for all.
      block: positions per block; the last block is padded with unscored positions.
    """
    B, T = targets_BT.shape
    missing = -T % block

    def blocks(x_BT: jax.Array) -> jax.Array:
        padded_BT = jnp.pad(x_BT, ((0, 0), (0, missing)) + ((0, 0),) * (x_BT.ndim - 2))
        return jnp.moveaxis(padded_BT.reshape(B, -1, block, *x_BT.shape[2:]), 1, 0)

    @jax.checkpoint
    def add(sums: tuple[jax.Array, jax.Array], piece: tuple) -> tuple[tuple[jax.Array, jax.Array], None]:
        some, targets, weights, known = piece
        sets = None if within is None else Within(known, within.masks)
        nll, weight = cross_entropy(next_logits(some, projection), targets, weights, sets)
        return (sums[0] + nll, sums[1] + weight), None

    zero = jnp.zeros((), projection.bias_V.dtype)
    zeros = (zero, jnp.zeros((), weights_BT.dtype))
    known = {} if within is None else within.known
    pieces = jax.tree.map(blocks, (features, targets_BT, weights_BT, known))
    sums, _ = jax.lax.scan(add, zeros, pieces)
    return sums
